// The target's side of PostgreSQL, from connect to `ready`: TLS as the target's configuration demands, then the client's own
// start-up message, then the server's verdict. It answers no request for a password and shows nobody what was said before TLS.

import { Chunks } from '../../core/bytes/chunks.ts'
import { Reader } from '../../core/bytes/reader.ts'
import { Writer } from '../../core/bytes/writer.ts'
import { max } from '../../core/limits.ts'
import type {
  FramedSession,
  Out,
  Refusal,
  SessionEvent,
  Side,
  TargetLogin,
} from '../../core/protocol.ts'
import { PacketReader } from './codec.ts'
import {
  ANSWER,
  AUTHENTICATION,
  BACKEND,
  HEAD_BYTES,
  LENGTH_BYTES,
  REQUEST,
  REQUEST_BYTES,
} from './wire.ts'

const NOT_A_LOGIN = 'the database sent a message that no login allows'

type Phase =
  | { readonly name: 'new' }
  /** SSLRequest is sent; one byte must come. */
  | { readonly name: 'asked' }
  | { readonly name: 'tls' }
  /** The start-up message is sent. `held`: messages the client must still see. */
  | { readonly name: 'login'; readonly reader: PacketReader; readonly held: Chunks }
  | { readonly name: 'ready' }
  | { readonly name: 'ended' }

export class PostgresAgent implements FramedSession {
  readonly #login: TargetLogin
  #phase: Phase = { name: 'new' }

  constructor(login: TargetLogin) {
    this.#login = login
  }

  bytes(from: Side, chunk: Uint8Array, at: number, out: Out): number {
    const phase = this.#phase
    if (from === 'client') return at
    switch (phase.name) {
      case 'asked':
        return this.#answered(chunk, at, out)
      case 'login':
        return this.#judge(phase, chunk, at, out)
      case 'ended':
        return chunk.length
      case 'new':
      case 'tls':
      case 'ready':
        return at
    }
  }

  event(event: SessionEvent, out: Out): void {
    switch (event.kind) {
      case 'start':
        return this.#start(out)
      case 'tls':
        if (this.#phase.name !== 'tls') return this.#end('TLS came unasked', out)
        return this.#open(out)
      case 'ended':
        return this.#end('the database closed the connection before it let us in', out)
      case 'evict':
        return this.refuse(event.refusal, out)
      case 'authorized':
      case 'connected':
      case 'dial-failed':
      case 'tap-ready':
      case 'time':
        return
    }
  }

  /** The person is told by the session; the database has nothing to hear. */
  refuse(refusal: Refusal, out: Out): void {
    this.#end(refusal.reason, out)
  }

  #start(out: Out): void {
    if (this.#phase.name !== 'new') return this.#end('started twice', out)
    if (this.#login.tls === 'off') return this.#open(out)
    this.#phase = { name: 'asked' }
    out.send('target', new Writer(REQUEST_BYTES).u32(REQUEST_BYTES).u32(REQUEST.ssl).done())
  }

  /** Bytes behind the answer were sent in clear by somebody who hopes that they are read as the server's (CVE-2021-23222). */
  #answered(chunk: Uint8Array, at: number, out: Out): number {
    if (at >= chunk.length) return at
    const answer = chunk[at]
    if (answer !== ANSWER.yes) {
      // Text that comes in clear is not shown: anybody on the way could have written it (CVE-2024-10977).
      const said = answer === ANSWER.no ? 'does not offer TLS' : 'gave no answer to the TLS request'
      this.#end(`the database ${said}, and this service demands it`, out)
      return chunk.length
    }
    if (chunk.length > at + 1) {
      this.#end('bytes came in clear behind the answer to the TLS request', out)
      return chunk.length
    }
    this.#phase = { name: 'tls' }
    out.act({ kind: 'upgrade-tls', side: 'target', servername: this.#login.servername })
    return at + 1
  }

  #open(out: Out): void {
    const bytesMax = max('pgLoginBytesMax')
    // Twice: what came before the verdict, and the verdict itself.
    const held = new Chunks(2 * bytesMax)
    this.#phase = { name: 'login', reader: new PacketReader(1, bytesMax), held }
    out.send('target', this.#login.opening)
  }

  #judge(phase: Phase & { name: 'login' }, chunk: Uint8Array, at: number, out: Out): number {
    let o = at
    while (o < chunk.length && this.#phase.name === 'login') {
      const to = phase.reader.add(chunk, o)
      if (phase.reader.bad) {
        this.#end('the database sent a message with a bad length', out)
        return chunk.length
      }
      const message = phase.reader.take()
      if (message !== undefined && this.#decides(phase.held, message, out)) {
        this.#phase = { name: 'ready' }
        // The message that decides is the session's to pass on: given back when this chunk holds all of it.
        const whole = to - o === message.length
        if (!whole) phase.held.add(message)
        const first = phase.held.take()
        out.act(first.length === 0 ? { kind: 'ready' } : { kind: 'ready', first })
        return whole ? o : to
      }
      o = to
    }
    return this.#phase.name === 'ended' ? chunk.length : o
  }

  /** True when this message is the server's verdict; otherwise it is held, or the login has failed. */
  #decides(held: Chunks, message: Uint8Array, out: Out): boolean {
    switch (message[0] ?? 0) {
      case BACKEND.authentication:
        return this.#authentication(new Reader(message, HEAD_BYTES), out)
      case BACKEND.errorResponse:
        return true
      case BACKEND.negotiateProtocolVersion:
      case BACKEND.noticeResponse:
        if (held.length + message.length <= max('pgLoginBytesMax')) held.add(message)
        else this.#end('the database said too much before it let us in', out)
        return false
      default:
        this.#end(NOT_A_LOGIN, out)
        return false
    }
  }

  /** AuthenticationXxx: Int32 method, then what the method needs. A login with a stored password gets its cases here. */
  #authentication(body: Reader, out: Out): boolean {
    const method = body.left < LENGTH_BYTES ? -1 : body.u32()
    switch (method) {
      case AUTHENTICATION.ok:
        if (body.left === 0) return true
        this.#end(NOT_A_LOGIN, out)
        return false
      case AUTHENTICATION.cleartextPassword:
        return this.#asked('a password in clear', out)
      case AUTHENTICATION.md5Password:
        return this.#asked('a password (md5)', out)
      case AUTHENTICATION.sasl:
        return this.#asked('a password (SCRAM)', out)
      case AUTHENTICATION.kerberosV5:
      case AUTHENTICATION.gss:
      case AUTHENTICATION.sspi:
        return this.#asked('Kerberos', out)
      default:
        this.#end(NOT_A_LOGIN, out)
        return false
    }
  }

  #asked(method: string, out: Out): false {
    this.#end(`the database asks for ${method}; certificate login is configured`, out)
    return false
  }

  #end(reason: string, out: Out): void {
    if (this.#phase.name === 'ended' || this.#phase.name === 'ready') return
    this.#phase = { name: 'ended' }
    out.act({ kind: 'end', reason })
  }
}
