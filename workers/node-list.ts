// What a person may reach, for whoever came to a proxy without naming a node: read out of main's inventory piece by piece, and of each
// piece only what a role of theirs shows is kept, so that a large cluster costs neither thread more than a piece at a time. A hint, as
// all lists are: the node decides.

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { visibleNodes } from '../core/passage.ts'
import { compileRoles } from '../core/policy/compile.ts'
import { loginsOn } from '../core/policy/reach.ts'
import type { KnownNode, ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import type { Snapshot } from '../core/snapshot.ts'
import type { ListedNode, NodeList } from '../core/ssh/services.ts'
import type { Visitor } from './node-passage.ts'
import type { Trust } from './trust.ts'

export interface NodeListWish {
  readonly cluster: string
  readonly trust: Pick<Trust, 'snapshot'>
  readonly session: number
  readonly visitor: Visitor
  /** This proxy, `host:port`, as clients name it. */
  readonly via: string
  ask(question: ProxyQuestion): Promise<ProxyAnswer>
}

const NO_POLICY = 'this proxy has no policy from control yet'
const NO_ANSWER = 'the nodes could not be looked up'

/** Rejects with a sentence for the person. */
export async function listNodes(wish: NodeListWish): Promise<NodeList> {
  const { trust, session, visitor, via } = wish
  const { issuer, name } = visitor.peer.identity
  const most = max('sshNodesListedMax')
  // By name: a piece may repeat what a piece before it had.
  const found = new Map<string, ListedNode>()
  let from: number | undefined = 0
  while (from !== undefined && found.size <= most) {
    const answer = await wish.ask({ what: 'nodes', session, user: `${issuer}/${name}`, from })
    const { snapshot } = trust
    if (snapshot === undefined) throw new ProxyError('dial.failed', NO_POLICY)
    if (answer.what !== 'nodes')
      throw new ProxyError('limit.exceeded', answer.what === 'no' ? answer.message : NO_ANSWER)
    for (const node of shown(wish, answer.nodes, snapshot)) found.set(node.name, node)
    from = answer.next
  }
  const nodes = [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  const cut = nodes.length > most || from !== undefined
  return { nodes: nodes.slice(0, most), cut, via }
}

function shown(
  { cluster, visitor }: NodeListWish,
  nodes: readonly KnownNode[],
  snapshot: Snapshot,
): readonly ListedNode[] {
  const { peer } = visitor
  const targets = nodes.map(({ target }) => target)
  const visible = new Set(visibleNodes(peer, targets, snapshot))
  const roles = compileRoles(snapshot.roles)
  return nodes.flatMap(({ target, online }) => {
    if (!visible.has(target)) return []
    const { ref, labels, address = '' } = target
    const logins = loginsOn(peer.identity, target, roles)
    return [{ name: ref.name, host: `${ref.name}.${cluster}`, address, online, logins, labels }]
  })
}
