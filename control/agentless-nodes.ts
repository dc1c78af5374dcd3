// Nodes that administrators register because no agent speaks for them: resources on one side, targets with an address on the other.
// The targets are made of the resources each time, and never stored, so that the two cannot disagree.

import { targetKey, RESOURCE_OWNER, type TargetRecord } from './records.ts'
import { targetLabel } from '../core/policy/names.ts'
import { nodeAddress, nodeHostname, type NodeResource, OPENSSH } from './resources/node.ts'

/** By store key. Of several with one hostname the first by name is it; writing a second is refused where it is written. */
export function agentlessNodes(
  resources: Iterable<NodeResource>,
): ReadonlyMap<string, TargetRecord> {
  const sorted = [...resources].sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
  const found = new Map<string, TargetRecord>()
  for (const resource of sorted) {
    if (resource.sub_kind !== OPENSSH) continue
    const record = recordOf(resource)
    const key = targetKey('node', record.name)
    if (!found.has(key)) found.set(key, record)
  }
  return found
}

function recordOf(resource: NodeResource): TargetRecord {
  const { metadata } = resource
  const name = nodeHostname(resource)
  return {
    kind: 'node',
    name,
    label: targetLabel(name),
    owner: RESOURCE_OWNER,
    protocol: 'ssh',
    labels: metadata.labels ?? {},
    description: metadata.description ?? '',
    agents: [],
    address: nodeAddress(resource),
  }
}
