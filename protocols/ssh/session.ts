// The client's side of SSH, from its first byte to its end: key exchange, the certificate that signed, one decision for this login on this
// target, the machine it leads to, and then the channels (channels.ts). Where the machine is makes no difference here.

import type { SshCertificate } from '../../core/cert/ssh.ts'
import { readSshCertificate } from '../../core/cert/ssh.ts'
import { type ErrorCode, errorCode, ProxyError } from '../../core/errors.ts'
import type { TargetRef } from '../../core/identity.ts'
import { max } from '../../core/limits.ts'
import type { Authorized } from '../../core/login.ts'
import type { Host, Peer, Refusal } from '../../core/protocol.ts'
import type { Machine } from '../../core/ssh/machine.ts'
import { isLogin } from '../../core/ssh/principal.ts'
import type { SshServices } from '../../core/ssh/services.ts'
import type { ByteStream } from '../../core/stream.ts'
import { connectMachine } from './agent.ts'
import { Channels } from './channels.ts'
import { unknownRestriction } from './permits.ts'
import { denied, evicted, failed, forbidden } from './refusal.ts'
import { Served, type Entry } from './served.ts'
import { beginAccepting, LoginRefused, type Accepting } from './transport/accept.ts'
import type { SshConnection } from './transport/connection.ts'
import { certificateKey } from './transport/host-key.ts'

/** Serves one client until it is gone. Never rejects for what a client does. */
export async function serveSsh(
  client: ByteStream,
  start: { readonly stage: string; readonly target?: TargetRef },
  host: Host,
  signal: AbortSignal,
): Promise<void> {
  const { ssh } = host
  if (ssh === undefined) {
    const error = new ProxyError('runtime.unfit', 'This thread has no services for SSH.')
    client.abort(error)
    throw error
  }
  await new Session(client, start.target, host, ssh, signal).run()
}

class Session {
  readonly #host: Host
  readonly #ssh: SshServices
  readonly #target: TargetRef | undefined
  readonly #signal: AbortSignal
  readonly #accepting: Accepting<Entry>
  #machine: Machine | undefined
  #channels: Channels | undefined
  #connection: SshConnection | undefined
  /** The client is gone; whatever is reached now is for nobody. */
  #left = false

  constructor(
    client: ByteStream,
    target: TargetRef | undefined,
    host: Host,
    ssh: SshServices,
    signal: AbortSignal,
  ) {
    this.#host = host
    this.#ssh = ssh
    this.#target = target
    this.#signal = signal
    this.#accepting = beginAccepting<Entry>({
      stream: client,
      timers: ssh.timers,
      hostKeys: ssh.hostKeys.map(({ certificate, key }) => certificateKey(certificate, key)),
      authorize: ({ user, certificate }) => this.#proven(user, certificate),
      ...(ssh.forwarded === undefined
        ? {}
        : { authorizeNone: (user: string) => this.#forwarded(user, ssh.forwarded?.certificate) }),
      ...(ssh.banner === undefined ? {} : { banner: ssh.banner }),
      serve: (entry, connection) => this.#serve(entry, connection),
    })
  }

  async run(): Promise<void> {
    const end = (): void => this.#end()
    this.#signal.addEventListener('abort', end)
    if (this.#signal.aborted) end()
    try {
      const { connection } = await this.#accepting.accepted
      const error = await connection.closed
      if (error !== undefined)
        this.#host.audit('SLH001W', { kind: 'connection', error: error.message })
    } catch {
      // Not let in. Who it was and why not is the thread's to tell; the client has heard it.
    } finally {
      this.#left = true
      this.#machine?.end()
      await this.#channels?.over()
      await this.#accepting.gone
      this.#signal.removeEventListener('abort', end)
    }
  }

  /** The session ends from outside: machine first, so that nothing runs on while words are exchanged. */
  #end(): void {
    const sentence = evicted(refusalOf(this.#signal.reason))
    this.#channels?.farewell(sentence)
    this.#machine?.end()
    this.#accepting.stop(sentence)
    this.#connection?.end(undefined, sentence)
  }

  /** Who is forwarded was proved to whoever forwards; nobody else is let in on this connection. */
  #proven(user: string, certificate: SshCertificate): Promise<Entry | LoginRefused | undefined> {
    return this.#ssh.forwarded === undefined
      ? this.#enter(user, certificate)
      : Promise.resolve(undefined)
  }

  async #forwarded(
    user: string,
    certificate: Uint8Array | undefined,
  ): Promise<Entry | LoginRefused | undefined> {
    return certificate === undefined
      ? undefined
      : this.#enter(user, readSshCertificate(certificate))
  }

  async #enter(user: string, certificate: SshCertificate): Promise<Entry | LoginRefused> {
    const unfit = unfitLogin(user, certificate)
    if (unfit !== undefined) return new LoginRefused(forbidden(unfit), false)
    const peer = await this.#host.identify(certificate.raw)
    // Another key of the client may be of this cluster.
    if ('reason' in peer) return new LoginRefused(denied(peer), false)
    if (!certificate.principals.includes(user)) {
      const reason = `the certificate is not for the login ${shown(user)}`
      this.#host.audit('SLH001W', { kind: 'login', error: reason })
      return new LoginRefused(forbidden(`${reason}. Log in again if your roles changed.`), true)
    }
    const right = await this.#authorize(user, peer)
    if ('reason' in right) return new LoginRefused(denied(right), true, isAway(right))
    return this.#reach(right, certificate)
  }

  async #authorize(user: string, peer: Peer): Promise<Authorized | Refusal> {
    const target = this.#target
    if (target === undefined)
      return {
        decisionId: '',
        kind: 'identity',
        reason: 'no node was named',
        next: 'Use tsh ssh, or the settings of tsh config.',
      }
    const right = await this.#host.authorize(peer, { target, principal: user, resource: '' })
    return this.#signal.aborted ? refusalOf(this.#signal.reason) : right
  }

  async #reach(right: Authorized, certificate: SshCertificate): Promise<Entry | LoginRefused> {
    try {
      const access = await this.#ssh.reach(right, this.#signal)
      const machine =
        access.kind === 'machine'
          ? access.machine
          : await connectMachine(access, right.access.principal, this.#ssh.timers, this.#host.nowMs)
      this.#machine = machine
      if (!this.#signal.aborted && !this.#left) return { right, certificate, machine }
      machine.end()
      const refusal = refusalOf(this.#signal.reason)
      return new LoginRefused(evicted(refusal), true, isAway(refusal))
    } catch (error) {
      const away = !SAID_NO.has(errorCode(error))
      return new LoginRefused(failed('the machine cannot be reached', error), true, away)
    }
  }

  #serve(entry: Entry, connection: SshConnection): Channels {
    this.#connection = connection
    this.#channels = new Channels(new Served(entry, connection, this.#host, this.#ssh))
    return this.#channels
  }
}

/** Of what was reached, or of control: more attempts would hear the same. */
const SAID_NO: ReadonlySet<ErrorCode | undefined> = new Set<ErrorCode>([
  'policy.denied',
  'login.failed',
  'login.locked',
  'limit.exceeded',
])

function isAway({ kind }: Refusal): boolean {
  return kind === 'unavailable'
}

/** Why this login is asked for by nobody who means well. */
function unfitLogin(user: string, certificate: SshCertificate): string | undefined {
  if (!isLogin(user) || user.length > max('nameLengthMax')) return 'that is no name of a login'
  const unknown = unknownRestriction(certificate)
  return unknown === undefined
    ? undefined
    : `the certificate has a restriction that nobody here carries out (${shown(unknown)})`
}

function shown(text: string): string {
  return `“${text.slice(0, max('shownTextMax'))}”`
}

/** The contract says that a session is ended with a refusal; anything else is ours, and ends it as well. */
function refusalOf(reason: unknown): Refusal {
  return isRefusal(reason)
    ? reason
    : { decisionId: '', kind: 'unavailable', reason: 'it was ended', next: 'Connect again.' }
}

function isRefusal(value: unknown): value is Refusal {
  return (
    typeof value === 'object' &&
    value !== null &&
    'decisionId' in value &&
    typeof value.decisionId === 'string' &&
    'reason' in value &&
    typeof value.reason === 'string' &&
    'next' in value &&
    typeof value.next === 'string' &&
    'kind' in value
  )
}
