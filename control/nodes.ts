// The nodes that a person may see, for `tsh ls` and name completion: those that a role of theirs shows, with the logins it offers
// there. A hint as all lists are; the node decides.

import type { UserIdentity } from '../core/identity.ts'
import { loginsOn, isVisible } from '../core/policy/reach.ts'
import type { Node } from './api/messages.ts'
import { asTarget } from './certificates.ts'
import type { Directory } from './directory.ts'
import type { TargetRecord } from './records.ts'

/** In the order of their names. */
export function visibleNodes(
  directory: Directory,
  identity: UserIdentity,
  isOnline: (agent: string) => boolean,
): readonly Node[] {
  const found = [...directory.targets()].flatMap((record) => {
    if (record.kind !== 'node') return []
    const target = asTarget(record)
    if (!isVisible(identity, target, directory.compiled)) return []
    const logins = loginsOn(identity, target, directory.compiled)
    return [{ ...nodeFacts(record), logins, online: isNodeOnline(record, isOnline) }]
  })
  return found.sort((a, b) => (a.name < b.name ? -1 : 1))
}

/** A server without an agent says nothing of itself: it counts as there. */
function isNodeOnline(
  { address, agents }: TargetRecord,
  isOnline: (id: string) => boolean,
): boolean {
  return address !== undefined || agents.some(isOnline)
}

function nodeFacts(record: TargetRecord): Omit<Node, 'logins' | 'online'> {
  const { name, labels, agents, address } = record
  const common = { name, labels, address: address ?? '' }
  return address === undefined
    ? { ...common, id: agents[0] ?? '', subKind: '' }
    : { ...common, id: name, subKind: 'openssh' }
}
