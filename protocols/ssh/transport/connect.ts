// The client's side of a new connection (RFC 4252): key exchange, the host's certificate judged, then authentication with a
// certificate of ours, or with none towards an agent that knows the client already. The host is judged once; a host that shows
// another key when keys are changed is refused. Who connects must say whom it trusts.

import { readSshCertificate, type SshCertificate } from '../../../core/cert/ssh.ts'
import { ProxyError } from '../../../core/errors.ts'
import { max } from '../../../core/limits.ts'
import { SshReader, string } from '../../../core/ssh/bytes.ts'
import type { ByteStream } from '../../../core/stream.ts'
import { signatureOf } from './algorithms.ts'
import { SshConnection, type ConnectionHandlers } from './connection.ts'
import type { Farewell } from './disconnect.ts'
import type { CertificateKey, HostVerifier } from './host-key.ts'
import { MESSAGE, REASON } from './message.ts'
import { SshTransport, type Handshake, type SshTimers } from './transport.ts'
import { violation } from './violation.ts'

export interface ConnectOptions {
  readonly stream: ByteStream
  readonly timers: SshTimers
  readonly user: string
  /** Undefined: the other side is asked to let us in without a proof. */
  readonly key: CertificateKey | undefined
  readonly verifyHost: HostVerifier
  readonly handlers?: ConnectionHandlers
  /** What the other side shows to people before authentication, as it comes; cut, never trusted. */
  readonly onBanner?: (text: string) => void
}

export interface Connected {
  readonly connection: SshConnection
  readonly handshake: Handshake
  readonly host: SshCertificate
  /** What the other side shows to people before authentication; never trusted. */
  readonly banner: string
}

const SERVICE = 'ssh-userauth'
const NEXT_SERVICE = 'ssh-connection'

/** Takes a connection up to its authentication. Rejects when the host is not trusted or does not let us in. */
export function connectSsh(options: ConnectOptions): Promise<Connected> {
  return new Promise((resolve, reject) => {
    new Connector(options, resolve, reject).start()
  })
}

class Connector {
  readonly #options: ConnectOptions
  readonly #resolve: (connected: Connected) => void
  readonly #reject: (error: ProxyError) => void
  readonly #transport: SshTransport
  #handshake: Handshake | undefined
  #host: SshCertificate | undefined
  #distrust: ProxyError | undefined
  #connection: SshConnection | undefined
  #algorithms: string[]
  #asked = false
  #banner = ''

  constructor(
    options: ConnectOptions,
    resolve: (connected: Connected) => void,
    reject: (error: ProxyError) => void,
  ) {
    this.#options = options
    this.#resolve = resolve
    this.#reject = reject
    this.#algorithms = [...(options.key?.algorithms ?? ['none'])]
    const { stream, timers } = options
    const verifyHost = (blob: Buffer): boolean => this.#verifyHost(blob)
    this.#transport = new SshTransport(
      { stream, timers, side: { verifyHost } },
      {
        handshake: (handshake) => this.#begin(handshake),
        payload: (payload) => this.#payload(payload),
        closed: (error) => {
          this.#reject(this.#distrust ?? error ?? left(this.#transport.farewell, this.#asked))
          this.#connection?.over(this.#distrust ?? error)
        },
      },
    )
  }

  start(): void {
    this.#transport.start()
  }

  /** Only true lets the exchange go on; whether the host holds the key is proven right after. */
  #verifyHost(blob: Buffer): boolean {
    try {
      if (this.#host !== undefined) {
        if (Buffer.compare(this.#host.raw, blob) === 0) return true
        throw untrusted('it shows another key than before')
      }
      const host = readSshCertificate(Buffer.from(blob))
      const refusal = this.#options.verifyHost(host)
      if (refusal !== undefined)
        throw new ProxyError(refusal.code, `The SSH host is not trusted: ${refusal.reason}.`, {
          side: 'target',
        })
      this.#host = host
      return true
    } catch (error) {
      this.#distrust = error instanceof ProxyError ? error : untrusted('it could not be judged')
      return false
    }
  }

  #begin(handshake: Handshake): void {
    this.#handshake = handshake
    this.#send(MESSAGE.serviceRequest, string(SERVICE))
  }

  #payload(payload: Buffer): void {
    if (this.#connection !== undefined) return this.#connection.take(payload)
    const type = payload[0] ?? 0
    const reader = new SshReader(payload.subarray(1))
    if (type === MESSAGE.serviceAccept && !this.#asked) this.#attempt()
    else if (type === MESSAGE.authBanner) this.#showBanner(reader.text())
    else if (type === MESSAGE.authFailure && this.#asked) this.#attempt()
    else if (type === MESSAGE.authSuccess && this.#asked) this.#admit()
    else throw violation(`message ${type} came before authentication`)
  }

  /** An RSA key has two names; a host that takes neither has refused. */
  #attempt(): void {
    const algorithm = this.#algorithms.shift()
    this.#asked = true
    if (algorithm === undefined) {
      const message = 'The SSH host does not let this user in with this certificate.'
      this.#transport.end(new ProxyError('login.failed', message, { side: 'target' }))
      return
    }
    const { user, key } = this.#options
    const head = Buffer.concat([
      Uint8Array.of(MESSAGE.authRequest),
      string(user),
      string(NEXT_SERVICE),
    ])
    if (key === undefined) this.#transport.send(Buffer.concat([head, string('none')]))
    else void this.#prove(head, key, algorithm)
  }

  async #prove(head: Uint8Array, key: CertificateKey, algorithm: string): Promise<void> {
    try {
      const session = this.#handshake?.sessionId ?? Buffer.alloc(0)
      const method = [string('publickey'), Uint8Array.of(1), string(algorithm), string(key.blob)]
      const request = Buffer.concat([head, ...method])
      const data = Buffer.concat([string(session), request])
      const signature = await key.sign(data, signatureOf(algorithm) ?? '')
      this.#transport.send(Buffer.concat([request, string(signature)]))
    } catch (error) {
      const message = 'The key of the SSH certificate did not sign.'
      this.#transport.end(new ProxyError('login.failed', message, { cause: error }))
    }
  }

  #showBanner(text: string): void {
    const room = max('sshBannerCharsMax') - this.#banner.length
    this.#banner += text.slice(0, room)
    if (room > 0) this.#options.onBanner?.(text.slice(0, room))
  }

  #admit(): void {
    const [handshake, host] = [this.#handshake, this.#host]
    if (handshake === undefined || host === undefined) return
    const { timers, handlers = {} } = this.#options
    this.#transport.admit()
    const connection = new SshConnection(this.#transport, false, timers)
    connection.serve(handlers)
    this.#connection = connection
    this.#resolve({ connection, handshake, host, banner: this.#banner })
  }

  #send(type: number, ...fields: readonly Uint8Array[]): void {
    this.#transport.send(Buffer.concat([Uint8Array.of(type), ...fields]))
  }
}

/** Who was asked to let somebody in and says good-bye instead has refused, unless what is behind it is away. */
function left({ reason, sentence }: Farewell, asked: boolean): ProxyError {
  const message =
    sentence === ''
      ? 'The SSH connection ends: the host left before authentication.'
      : `The SSH host says: ${sentence}`
  const details = { side: 'target', detail: sentence } as const
  if (!asked || sentence === '') return new ProxyError('protocol.violation', message, details)
  if (reason === REASON.serviceNotAvailable)
    return new ProxyError('dial.failed', message, { ...details, retry: true })
  return new ProxyError('login.failed', message, details)
}

function untrusted(why: string): ProxyError {
  return new ProxyError('cert.chain', `The SSH host is not trusted: ${why}.`, { side: 'target' })
}
