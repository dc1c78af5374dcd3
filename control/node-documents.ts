// Nodes as `tctl get`, `create` and `rm` have them: resources that administrators wrote, and those that agents announce in the same
// form. One name leads to one machine.

import type { Cache } from './cache.ts'
import { RESOURCE_OWNER, type TargetRecord } from './records.ts'
import { nodeHostname, nodeProblem, type NodeResource } from './resources/node.ts'
import { nodeNameTaken } from './ssh-names.ts'

type Known = Pick<Cache, 'hosts' | 'kind' | 'target' | 'targets'>

/** Nodes with an agent, in the form of resources. */
export function announcedNodes(known: Known): readonly NodeResource[] {
  return [...known.targets()].filter(isAnnounced).map(asResource)
}

export function announcedNode(known: Known, name: string): NodeResource | undefined {
  const record = known.target('node', name)
  return record !== undefined && isAnnounced(record) ? asResource(record) : undefined
}

/** Why this resource may not be written, as a sentence. */
export function nodeProblemHere(
  known: Known,
  cluster: string,
  resource: NodeResource,
): string | undefined {
  const problem = nodeProblem(resource, cluster)
  if (problem !== undefined) return problem
  const name = nodeHostname(resource)
  const taken = nodeNameTaken(known, cluster, name)
  if (taken !== undefined) return taken
  if (announcedNode(known, name) !== undefined)
    return `an agent has the name "${name}"; remove it with "tctl rm node/${name}" first`
  const others = [...known.kind('node').values()].flatMap(({ resource: other }) =>
    other.kind === 'node' && other.metadata.name !== resource.metadata.name ? [other] : [],
  )
  const other = others.find((each) => nodeHostname(each) === name)
  return other === undefined ? undefined : `the node ${other.metadata.name} is called so`
}

function isAnnounced({ kind, owner }: TargetRecord): boolean {
  return kind === 'node' && owner !== RESOURCE_OWNER
}

function asResource({ name, labels }: TargetRecord): NodeResource {
  return {
    kind: 'node',
    version: 'v2',
    metadata: { name, ...(Object.keys(labels).length === 0 ? {} : { labels }) },
    spec: { addr: '', hostname: name },
  }
}
