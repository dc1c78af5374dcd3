// The target's side of PostgreSQL, from connect to `ready`: TLS as the target's configuration demands, then the client's own
// start-up message, then passwords as password.ts has them, then the server's verdict. It shows nobody what was said before TLS.

import { Chunks } from '../../core/bytes/chunks.ts'
import { Reader } from '../../core/bytes/reader.ts'
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
import { NOT_A_LOGIN, PasswordLogin } from './password.ts'
import { answerProblem, sslRequest } from './secure.ts'
import { BACKEND, HEAD_BYTES } from './wire.ts'

type Phase =
  | { readonly name: 'new' }
  /** SSLRequest is sent; one byte must come. */
  | { readonly name: 'asked' }
  | { readonly name: 'tls' }
  /** The start-up message is sent. `held`: messages the client must still see. */
  | {
      readonly name: 'login'
      readonly reader: PacketReader
      readonly held: Chunks
      readonly password: PasswordLogin
    }
  | { readonly name: 'ready' }
  | { readonly name: 'ended' }

export class PostgresAgent implements FramedSession {
  readonly #login: TargetLogin
  #phase: Phase = { name: 'new' }
  #service = ''

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
        return this.#start(event.target?.name ?? '', out)
      case 'tls':
        if (this.#phase.name !== 'tls') return this.#end('TLS came unasked', out)
        return this.#open(event.endPoint, out)
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

  #start(service: string, out: Out): void {
    if (this.#phase.name !== 'new') return this.#end('started twice', out)
    this.#service = service
    if (this.#login.tls === 'off') return this.#open(undefined, out)
    this.#phase = { name: 'asked' }
    out.send('target', sslRequest())
  }

  #answered(chunk: Uint8Array, at: number, out: Out): number {
    if (at >= chunk.length) return at
    const problem = answerProblem(chunk, at)
    if (problem !== undefined) {
      this.#end(problem, out)
      return chunk.length
    }
    this.#phase = { name: 'tls' }
    out.act({ kind: 'upgrade-tls', side: 'target', servername: this.#login.servername })
    return at + 1
  }

  #open(endPoint: Uint8Array | undefined, out: Out): void {
    const bytesMax = max('pgLoginBytesMax')
    // Twice: what came before the verdict, and the verdict itself.
    const held = new Chunks(2 * bytesMax)
    const password = new PasswordLogin(this.#login, this.#service, endPoint)
    this.#phase = { name: 'login', reader: new PacketReader(1, bytesMax), held, password }
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
      if (message !== undefined && this.#decides(phase, message, out)) {
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
  #decides(phase: Phase & { name: 'login' }, message: Uint8Array, out: Out): boolean {
    const { held, password } = phase
    switch (message[0] ?? 0) {
      case BACKEND.authentication:
        return this.#authentication(password, new Reader(message, HEAD_BYTES), out)
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

  /** True when the server let us in and is believed. */
  #authentication(password: PasswordLogin, body: Reader, out: Out): boolean {
    const step = password.heard(body)
    switch (step.kind) {
      case 'in':
        return true
      case 'wait':
        return false
      case 'say':
        out.send('target', step.bytes)
        return false
      case 'no':
        this.#end(step.reason, out)
        return false
    }
  }

  #end(reason: string, out: Out): void {
    if (this.#phase.name === 'ended' || this.#phase.name === 'ready') return
    this.#phase = { name: 'ended' }
    out.act({ kind: 'end', reason })
  }
}
