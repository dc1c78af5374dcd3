// An SSH connection to a node as the person logged in: the way in through a proxy, the host judged by the cluster's host CAs for the
// name it must have, the certificate proven by the key on disk or in the ssh-agent. A host that is unknown is refused; nobody is asked.

import type * as ssh from '../../protocols/ssh/client.ts'
import type { CertificateKey, Connected, ConnectionHandlers } from '../../protocols/ssh/client.ts'
import { errorCode } from '../../core/errors.ts'
import { readPrivateKey } from '../../core/ssh/private-key.ts'
import { socketStream } from '../../workers/socket-stream.ts'
import { systemTimers } from '../../workers/timers.ts'
import { CommandError, EXIT } from '../exit.ts'
import { findAgent } from '../ssh-agent.ts'
import { printable } from '../render.ts'
import type { Tools } from '../tools.ts'
import { casOf, type Login, loginHint, proxiesOf } from '../tsh/session.ts'
import { requireSshLogin, type SshLogin } from './login.ts'
import { openWayIn } from './way-in.ts'

export interface NodeWanted {
  /** As the proxy is asked for it. */
  readonly node: string
  /** The principal that the host's certificate must have. */
  readonly hostName: string
  /** Who to be there. */
  readonly user: string
  /** Logins that are known to be allowed there, for whoever asks for another. */
  readonly logins?: readonly string[]
  /** Control did not say where sessions end: only the node itself is believed. */
  readonly assumed?: true | undefined
}

/** Loaded with ssh2 behind it, so only when there is somebody to connect to. */
type Client = typeof ssh

export interface NodeConnection extends Connected {
  /** Ends the connection, and does not wait for a node that has gone silent. */
  readonly end: () => Promise<void>
}

export async function connectNode(
  tools: Tools,
  login: Login,
  wanted: NodeWanted,
  handlers: ConnectionHandlers = {},
): Promise<NodeConnection> {
  const client = await import('../../protocols/ssh/client.ts')
  const own = requireSshLogin(tools, login)
  const key = await keyOf(client, tools, login, own)
  const socket = await openWayIn({
    proxies: proxiesOf(login),
    cas: casOf(tools, login),
    pair: login.pair,
    node: wanted.node,
  })
  try {
    const connected = await client.connectSsh({
      stream: socketStream(socket),
      timers: systemTimers,
      user: wanted.user,
      key,
      verifyHost: client.hostVerifier(own.hostCas, wanted.hostName, () => tools.clock.now()),
      handlers,
    })
    showBanner(tools, connected.banner)
    return { ...connected, end: () => end(connected, socket) }
  } catch (error) {
    socket.destroy()
    throw notLetIn(error, wanted)
  }
}

/** A refused login names those that are not. Roles may allow more by patterns, so nothing is refused here beforehand. */
function notLetIn(error: unknown, { node, user, logins = [], assumed }: NodeWanted): unknown {
  if (assumed === true && errorCode(error) === 'cert.identity')
    return new CommandError(
      `control did not say in time where sessions of ${printable(node)} end, and it is not the node itself that answers`,
      EXIT.unreachable,
      'Try again: where sessions end at proxies, control has to say so.',
    )
  if (errorCode(error) !== 'login.failed' || logins.length === 0 || logins.includes(user))
    return error
  const next = `Your logins on ${printable(node)}: ${logins.map(printable).join(', ')}.`
  return new CommandError(error instanceof Error ? error.message : '', EXIT.denied, next)
}

/** What waits is sent; then the socket goes, since the node may leave it open for as long as it likes. */
async function end({ connection }: Connected, socket: { destroy(): void }): Promise<void> {
  connection.end()
  await connection.closed
  socket.destroy()
}

async function keyOf(
  client: Client,
  tools: Tools,
  login: Login,
  own: SshLogin,
): Promise<CertificateKey> {
  const { certificate, key } = own
  if (key !== undefined) return client.certificateKey(certificate.raw, readPrivateKey(key))
  const agent = await findAgent(tools.env)
  if (agent === undefined)
    throw new CommandError(
      'the key of the login is in an ssh-agent that does not answer',
      EXIT.notLoggedIn,
      `Start it and set SSH_AUTH_SOCK, or: ${loginHint(login.profile.proxy)}`,
    )
  return {
    blob: certificate.raw,
    algorithms: client.algorithmsOf(certificate.raw),
    sign: async (data, algorithm) => agent.sign(certificate.raw, data, algorithm),
  }
}

/** Shown before anybody was authenticated: a terminal must not obey it. */
function showBanner(tools: Tools, banner: string): void {
  const lines = banner.split(/\r?\n/)
  if (banner.trim() !== '') tools.note(`${lines.map(printable).join('\n').trimEnd()}\n`)
}
