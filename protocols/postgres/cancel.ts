// Cancel requests: the key a client is shown in place of the server's (BackendKeyData), and the connection on which a server is
// told its own (CancelRequest; manual, "Canceling Requests in Progress"). Whose key a request holds is decided elsewhere.

import { Writer } from '../../core/bytes/writer.ts'
import { max } from '../../core/limits.ts'
import type {
  FramedSession,
  Out,
  Refusal,
  SessionEvent,
  Side,
  SignalIdentity,
  TargetLogin,
} from '../../core/protocol.ts'
import type { Taker } from './codec.ts'
import { answerProblem, sslRequest } from './secure.ts'
import {
  BACKEND,
  CANCEL_HEAD_BYTES,
  CANCEL_KEY_BYTES,
  HEAD_BYTES,
  LENGTH_BYTES,
  REQUEST,
} from './wire.ts'

/** Int32 process id ahead of a key. */
const PROCESS_BYTES = 4

/**
 * BackendKeyData: Byte1('K'), Int32 length, Int32 process id, Byte[n] secret key. The client is shown the session's handle and
 * secret instead: a key as long as the server's, since 3.0 knows four bytes only. A key longer than our secret is shown as that
 * secret: its length carries nothing, and 256 bits are not guessed.
 */
export function keyTaker(signal: SignalIdentity): Taker {
  let taken = false
  return {
    bytesMax: HEAD_BYTES + PROCESS_BYTES + max('pgCancelKeyBytesMax'),
    whole(message: Uint8Array, out: Out): string | undefined {
      const real = message.subarray(HEAD_BYTES)
      const keyBytes = real.length - PROCESS_BYTES
      if (taken) return 'the key of the session came twice'
      if (keyBytes < CANCEL_KEY_BYTES) return 'the key of the session is too short'
      taken = true
      const secret = signal.secret.subarray(0, keyBytes)
      const shown = new Writer(real.length).u32(signal.handle).bytes(secret).done()
      // Known before the client can use it.
      out.act({ kind: 'signal-key', shown, real })
      const length = LENGTH_BYTES + shown.length
      const head = new Writer(1 + length).u8(BACKEND.backendKeyData).u32(length)
      out.send('client', head.bytes(shown).done())
      return undefined
    },
  }
}

type Phase = 'new' | 'asked' | 'tls' | 'told' | 'ready' | 'ended'

/** Tells a server `real` (its process id and key) and waits until it has hung up, which is its only answer. */
export class PostgresCancel implements FramedSession {
  readonly #login: TargetLogin
  readonly #real: Uint8Array
  #phase: Phase = 'new'

  constructor(login: TargetLogin, real: Uint8Array) {
    this.#login = login
    this.#real = real
  }

  bytes(from: Side, chunk: Uint8Array, at: number, out: Out): number {
    if (from === 'client' || at >= chunk.length) return at
    switch (this.#phase) {
      case 'asked':
        return this.#answered(chunk, at, out)
      case 'told':
        this.#end('the database answered a cancel request', out)
        return chunk.length
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
        return this.#phase === 'tls' ? this.#tell(out) : this.#end('TLS came unasked', out)
      case 'ended':
        return this.#hungUp(out)
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

  refuse(refusal: Refusal, out: Out): void {
    this.#end(refusal.reason, out)
  }

  #start(out: Out): void {
    if (this.#phase !== 'new') return this.#end('started twice', out)
    if (this.#login.tls === 'off') return this.#tell(out)
    this.#phase = 'asked'
    out.send('target', sslRequest())
  }

  #answered(chunk: Uint8Array, at: number, out: Out): number {
    const problem = answerProblem(chunk, at)
    if (problem !== undefined) {
      this.#end(problem, out)
      return chunk.length
    }
    this.#phase = 'tls'
    out.act({ kind: 'upgrade-tls', side: 'target', servername: this.#login.servername })
    return at + 1
  }

  /** CancelRequest: Int32 length, Int32 code, Int32 process id, Byte[n] secret key. */
  #tell(out: Out): void {
    this.#phase = 'told'
    const length = CANCEL_HEAD_BYTES - PROCESS_BYTES + this.#real.length
    const request = new Writer(length).u32(length).u32(REQUEST.cancel).bytes(this.#real)
    out.send('target', request.done())
  }

  #hungUp(out: Out): void {
    if (this.#phase !== 'told') return this.#end('the database closed the connection', out)
    this.#phase = 'ready'
    out.act({ kind: 'ready' })
  }

  #end(reason: string, out: Out): void {
    if (this.#phase === 'ended' || this.#phase === 'ready') return
    this.#phase = 'ended'
    out.act({ kind: 'end', reason })
  }
}
