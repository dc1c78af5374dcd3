// Which nodes a command means: one by its name, id or address, or all with certain labels. Control says what there is; what the person
// may do there is the node's to decide. When control does not answer, a name is taken as it was typed: the proxy knows it too.

import type { SessionMode } from '../../core/login.ts'
import { errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Node } from '../../control/api/messages.ts'
import { usage } from '../command.ts'
import { CommandError, EXIT } from '../exit.ts'
import { printable } from '../render.ts'
import { keepAliases } from '../ssh/aliases.ts'
import { loginsOf, type SshLogin } from '../ssh/login.ts'
import type { Tools } from '../tools.ts'
import type { Login, Session } from './session.ts'

/** One node to go to. */
export interface Destination {
  readonly name: string
  /** The principal its host certificate must have: its own, or where sessions end at proxies, the cluster's. */
  readonly hostName: string
  /** Logins to choose from. */
  readonly logins: readonly string[]
  /** Control did not say where its sessions end: `hostName` is the node's own. */
  readonly assumed?: true
}

export interface NodeFilter {
  readonly search?: string | undefined
  /** `key=value,…` */
  readonly labels?: string | undefined
  readonly query?: string | undefined
}

/** `[login@]host` or `[login@]key=value,…`. */
export interface HostWords {
  readonly login: string | undefined
  readonly host: string
  readonly byLabels: boolean
}

const PAGES_MAX = 100
const SHOWN_MAX = 10

export function readHost(text: string): HostWords {
  const at = text.lastIndexOf('@')
  const login = at < 0 ? undefined : text.slice(0, at)
  const host = text.slice(at + 1)
  if (host === '' || login === '' || host.startsWith('-'))
    throw usage(`"${printable(text)}" names no node`, 'Write [login@]node, or [login@]label=value.')
  return { login, host, byLabels: host.includes('=') }
}

/** All nodes the person may see. */
export async function listNodes(
  client: Session['client'],
  { search, labels, query }: NodeFilter = {},
  signal?: AbortSignal,
): Promise<readonly Node[]> {
  const items: Node[] = []
  let cursor: string | undefined
  for (let page = 0; page < PAGES_MAX; page++) {
    const wanted = {
      ...(search === undefined || search === '' ? {} : { search }),
      ...(labels === undefined || labels === '' ? {} : { labels }),
      ...(query === undefined ? {} : { query }),
      ...(cursor === undefined ? {} : { cursor }),
    }
    const reply = await client.call('nodes', wanted, signal === undefined ? {} : { signal })
    items.push(...reply.items)
    cursor = reply.next
    if (cursor === undefined) break
  }
  return items
}

/** The nodes that are meant; at least one. Several only by labels. */
export async function findDestinations(
  tools: Tools,
  login: Login,
  ssh: SshLogin,
  connect: () => Promise<Session>,
  { host, byLabels }: HostWords,
): Promise<readonly Destination[]> {
  const { cluster } = login.profile
  try {
    const signal = AbortSignal.timeout(max('modeAskedMs'))
    const { client } = await connect()
    const [{ mode }, nodes] = await Promise.all([
      client.call('me', {}, { signal }),
      listNodes(client, byLabels ? { labels: host } : {}, signal),
    ])
    if (!byLabels) keepAliases(tools, login.profile, mode, nodes)
    const found = byLabels ? nodes : matches(nodes, host, cluster)
    if (found.length === 0) throw unknown(host, byLabels)
    if (!byLabels && found.length > 1) throw ambiguous(host, found)
    return found.map((node) => destinationOf(node, mode, cluster))
  } catch (error) {
    const silent = errorCode(error) === 'control.unavailable' || isTimeout(error)
    if (!silent || byLabels) throw error
    // Where sessions end is not known then: only the node itself is believed.
    const name = bareName(host, cluster)
    return [{ name, hostName: `${name}.${cluster}`, logins: loginsOf(ssh), assumed: true }]
  }
}

/** Who to be on a node: who was asked for, else who runs this where that is a login, else the only one there is. */
export function chooseLogin(
  wanted: string | undefined,
  { name, logins }: Destination,
  localUser: string,
): string {
  if (wanted !== undefined) return wanted
  if (logins.includes(localUser)) return localUser
  const [only, ...more] = logins
  if (only !== undefined && more.length === 0) return only
  if (only === undefined)
    throw new CommandError(
      `your roles give you no login on ${printable(name)}`,
      EXIT.denied,
      'See yours with: tsh ls -v',
    )
  throw usage(`which login on ${printable(name)}?`, `One of ${logins.map(printable).join(', ')}.`)
}

/** Names are compared as DNS compares them. */
function matches(nodes: readonly Node[], host: string, cluster: string): readonly Node[] {
  const wanted = bareName(host, cluster).toLowerCase()
  const named = nodes.filter(
    ({ name, id }) => name.toLowerCase() === wanted || id.toLowerCase() === wanted,
  )
  if (named.length > 0) return named
  return nodes.filter(({ address }) => address.toLowerCase().replace(/:\d+$/, '') === wanted)
}

function bareName(host: string, cluster: string): string {
  const end = `.${cluster}`.toLowerCase()
  return host.toLowerCase().endsWith(end) ? host.slice(0, -end.length) : host
}

function destinationOf(
  { name, subKind, logins }: Node,
  mode: SessionMode,
  cluster: string,
): Destination {
  const atProxy = mode === 'terminate' || subKind === 'openssh'
  return { name, hostName: atProxy ? cluster : `${name}.${cluster}`, logins }
}

function unknown(host: string, byLabels: boolean): CommandError {
  const what = byLabels ? `no node with ${printable(host)}` : `no node ${printable(host)}`
  return new CommandError(
    `${what} that your roles let you see`,
    EXIT.failure,
    'See them with: tsh ls',
  )
}

function ambiguous(host: string, found: readonly Node[]): CommandError {
  const lines = found
    .slice(0, SHOWN_MAX)
    .map(({ id, name, address }) => `  ${printable(`${id} ${name} ${address}`.trimEnd())}`)
  if (found.length > SHOWN_MAX) lines.push(`  and ${found.length - SHOWN_MAX} more`)
  return new CommandError(
    `ambiguous host: ${printable(host)} could match several nodes:\n${lines.join('\n')}`,
    EXIT.usage,
    'Name one by its id, or several on purpose by labels: tsh ssh key=value.',
  )
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && (error.name === 'TimeoutError' || error.name === 'AbortError')
}
