// The server's side of a new connection (RFC 4252): key exchange, then authentication with a certificate. The signature is checked
// here, and the right to go on is asked for the certificate that signed, never for one that was merely shown. `none` serves callers
// whose client was authenticated before this connection (a forwarded identity). Passwords and plain keys are no way in.

import { readSshCertificate, type SshCertificate } from '../../../core/cert/ssh.ts'
import { ProxyError } from '../../../core/errors.ts'
import { max } from '../../../core/limits.ts'
import { SshReader, string } from '../../../core/ssh/bytes.ts'
import { verifyBlob } from '../../../core/ssh/key.ts'
import type { ByteStream } from '../../../core/stream.ts'
import { blobTypeOf, signatureOf } from './algorithms.ts'
import { SshConnection, type ConnectionHandlers } from './connection.ts'
import type { HostKey } from './host-key.ts'
import { MESSAGE } from './message.ts'
import { SshTransport, type Handshake, type SshTimers } from './transport.ts'
import { violation } from './violation.ts'

/** Somebody who proved to hold the key of this certificate. Whether its CA is trusted, and for what, is the authoriser's to say. */
export interface ProvenLogin {
  readonly user: string
  readonly algorithm: string
  readonly certificate: SshCertificate
}

/** No, with words that the person hears. */
export class LoginRefused {
  readonly sentence: string
  /** No other certificate would change it: the connection ends. */
  readonly final: boolean
  /** Nobody says no: what decides, or what they want to reach, is away. */
  readonly away: boolean

  constructor(sentence: string, final: boolean, away = false) {
    this.sentence = sentence
    this.final = final
    this.away = away
  }
}

export interface AcceptOptions<Right> {
  readonly stream: ByteStream
  readonly timers: SshTimers
  /** At least one. */
  readonly hostKeys: readonly HostKey[]
  /** What the holder of this certificate may do as this user; undefined refuses. A failure refuses and ends the connection. */
  authorize(login: ProvenLogin): Promise<Right | LoginRefused | undefined>
  /** For a client that is known already: what it may do as this user. Absent: `none` is refused. */
  authorizeNone?(user: string): Promise<Right | LoginRefused | undefined>
  /** A key was shown, and nothing proved by it; may be called for each attempt. */
  unproved?(): void
  /** What the connection does for its client. Asked before the client is told that it is in. */
  serve(right: Right, connection: SshConnection): ConnectionHandlers
  /** Shown to people before they authenticate. */
  readonly banner?: string
}

export interface Accepted<Right> {
  readonly right: Right
  readonly connection: SshConnection
  readonly handshake: Handshake
}

const SERVICE = 'ssh-userauth'
const NEXT_SERVICE = 'ssh-connection'
const METHODS = string('publickey')

/** Takes a connection up to its authentication. Rejects when the client does not get in. */
export function acceptSsh<Right>(options: AcceptOptions<Right>): Promise<Accepted<Right>> {
  return beginAccepting(options).accepted
}

export interface Accepting<Right> {
  /** As `acceptSsh` says. */
  readonly accepted: Promise<Accepted<Right>>
  /** Resolves when the stream was left, in whatever way. */
  readonly gone: Promise<void>
  /** Ends it at any time before it is accepted; the person hears the sentence. */
  stop(sentence: string): void
}

/** `acceptSsh` for callers that may have to end it in the middle. */
export function beginAccepting<Right>(options: AcceptOptions<Right>): Accepting<Right> {
  const { promise, resolve, reject } = Promise.withResolvers<Accepted<Right>>()
  const acceptor = new Acceptor(options, resolve, reject)
  acceptor.start()
  return { accepted: promise, gone: acceptor.gone, stop: (sentence) => acceptor.stop(sentence) }
}

class Acceptor<Right> {
  readonly #options: AcceptOptions<Right>
  readonly #resolve: (accepted: Accepted<Right>) => void
  readonly #reject: (error: ProxyError) => void
  readonly #transport: SshTransport
  #handshake: Handshake | undefined
  #connection: SshConnection | undefined
  #service = false
  #user: string | undefined
  #attempts = 0
  #deciding: Promise<void> = Promise.resolve()

  constructor(
    options: AcceptOptions<Right>,
    resolve: (accepted: Accepted<Right>) => void,
    reject: (error: ProxyError) => void,
  ) {
    this.#options = options
    this.#resolve = resolve
    this.#reject = reject
    const { stream, timers, hostKeys } = options
    this.#transport = new SshTransport(
      { stream, timers, side: { hostKeys } },
      {
        handshake: (handshake) => {
          this.#handshake = handshake
        },
        payload: (payload) => this.#payload(payload),
        closed: (error) => {
          this.#reject(error ?? violation('the client left before authentication'))
          this.#connection?.over(error)
        },
      },
    )
  }

  start(): void {
    this.#transport.start()
  }

  get gone(): Promise<void> {
    return this.#transport.gone
  }

  stop(sentence: string): void {
    if (this.#connection !== undefined || this.#transport.over) return
    if (this.#service) this.#banner(sentence)
    this.#transport.end(refused(sentence), sentence)
  }

  #payload(payload: Buffer): void {
    if (this.#connection !== undefined) return this.#connection.take(payload)
    const type = payload[0] ?? 0
    const reader = new SshReader(payload.subarray(1))
    if (type === MESSAGE.serviceRequest && !this.#service) this.#startService(reader)
    else if (type === MESSAGE.authRequest && this.#service) this.#attempt(reader)
    else throw violation(`message ${type} came before authentication`)
  }

  #startService(reader: SshReader): void {
    if (reader.text() !== SERVICE) throw violation('no service but ssh-userauth comes first')
    this.#service = true
    this.#send(MESSAGE.serviceAccept, string(SERVICE))
    const { banner } = this.#options
    if (banner !== undefined) this.#send(MESSAGE.authBanner, string(banner), string(''))
  }

  #banner(sentence: string): void {
    const text = sentence.slice(0, max('sshBannerCharsMax'))
    this.#send(MESSAGE.authBanner, string(`${text}\r\n`), string(''))
  }

  /** One request to authenticate. Requests are decided one after the other; what follows success was never meant for us. */
  #attempt(reader: SshReader): void {
    const user = reader.text()
    if (this.#user !== undefined && this.#user !== user)
      throw violation('the user changes between requests')
    this.#user = user
    if (reader.text() !== NEXT_SERVICE) throw violation('no service but ssh-connection follows')
    this.#attempts += 1
    if (this.#attempts > max('sshLoginAttemptsMax'))
      throw violation('more than sshLoginAttemptsMax requests to authenticate')
    const method = reader.text()
    const login = method === 'publickey' ? this.#publicKey(user, reader) : undefined
    this.#deciding = this.#deciding.then(() => this.#decide(user, method, login))
  }

  /** A question whether a key would do is answered at once and grants nothing. */
  #publicKey(user: string, reader: SshReader): ProvenLogin | Question | undefined {
    const signed = reader.u8() !== 0
    const [algorithm, blob] = [reader.text(), reader.string()]
    const signature = signatureOf(algorithm)
    if (signature === undefined || blobTypeOf(algorithm) !== new SshReader(blob).text())
      return undefined
    if (!signed) return { asked: algorithm, blob }
    const session = this.#handshake?.sessionId
    if (session === undefined) return undefined
    const fields = [string(user), string(NEXT_SERVICE), string('publickey'), Uint8Array.of(1)]
    const data = Buffer.concat([
      string(session),
      Uint8Array.of(MESSAGE.authRequest),
      ...fields,
      string(algorithm),
      string(blob),
    ])
    return proven(user, algorithm, blob, data, reader.string(), signature)
  }

  async #decide(
    user: string,
    method: string,
    login: ProvenLogin | Question | undefined,
  ): Promise<void> {
    if (this.#transport.over || this.#connection !== undefined) return
    if (login !== undefined && 'asked' in login) {
      this.#send(MESSAGE.authKeyOk, string(login.asked), string(login.blob))
      return
    }
    try {
      const right = await this.#right(user, method, login)
      if (this.#transport.over) return
      if (right instanceof LoginRefused) this.#refuse(right)
      else if (right === undefined) this.#send(MESSAGE.authFailure, METHODS, Uint8Array.of(0))
      else this.#admit(right)
    } catch (error) {
      this.#send(MESSAGE.authFailure, METHODS, Uint8Array.of(0))
      this.#transport.end(violation('who may log in cannot be decided', error))
    }
  }

  #right(
    user: string,
    method: string,
    login: ProvenLogin | undefined,
  ): Promise<Right | LoginRefused | undefined> | undefined {
    if (login !== undefined) return this.#options.authorize(login)
    if (method === 'publickey') this.#options.unproved?.()
    return method === 'none' ? this.#options.authorizeNone?.(user) : undefined
  }

  /** The sentence comes as a banner, which people see while they log in, and once more as the last word: some see only one of them. */
  #refuse({ sentence, final, away }: LoginRefused): void {
    this.#banner(sentence)
    // A failure would make the client go by itself, before it has read the last word.
    if (final) this.#transport.end(refused(sentence, away), sentence)
    else this.#send(MESSAGE.authFailure, METHODS, Uint8Array.of(0))
  }

  #admit(right: Right): void {
    const handshake = this.#handshake
    if (handshake === undefined) return
    const connection = new SshConnection(this.#transport, true, this.#options.timers)
    connection.serve(this.#options.serve(right, connection))
    this.#send(MESSAGE.authSuccess)
    this.#transport.admit()
    this.#connection = connection
    this.#resolve({ right, connection, handshake })
  }

  #send(type: number, ...fields: readonly Uint8Array[]): void {
    this.#transport.send(Buffer.concat([Uint8Array.of(type), ...fields]))
  }
}

function refused(sentence: string, away = false): ProxyError {
  return away
    ? new ProxyError('dial.failed', sentence, { side: 'target' })
    : new ProxyError('policy.denied', sentence, { side: 'client' })
}

/** Would a signature by this key be looked at? */
interface Question {
  readonly asked: string
  readonly blob: Uint8Array
}

function proven(
  user: string,
  algorithm: string,
  blob: Uint8Array,
  data: Uint8Array,
  signature: Uint8Array,
  signedWith: string,
): ProvenLogin | undefined {
  try {
    const certificate = readSshCertificate(blob)
    if (!verifyBlob(certificate.key, data, signature, [signedWith])) return undefined
    return { user, algorithm, certificate }
  } catch {
    // No certificate, or one whose CA did not sign it: it proves nothing.
    return undefined
  }
}
