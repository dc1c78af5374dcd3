// A framed protocol of lines, small enough to be read at once, that uses all of the contract: TLS, a login, a dial, notes and
// refusals. `HELLO user resource`, then requests; the target greets with `WELCOME`. The suite runs it beside the real ones.

import { Chunks } from '../../core/bytes/chunks.ts'
import type {
  FramedProtocol,
  FramedSession,
  Out,
  Recognition,
  Refusal,
  SessionEvent,
  Side,
  TargetLogin,
} from '../../core/protocol.ts'

const MAGIC = Buffer.from('LINE')
const LINE_BYTES_MAX = 256
const NEWLINE = 0x0a

export const LINE_NOTE: Readonly<Record<Side, number>> = { client: 1, target: 2 }

export const line: FramedProtocol = {
  name: 'line',
  shape: 'framed',
  kind: 'db',
  alpn: ['line'],
  defaultPort: 7,
  recognise,
  session: () => new LineSession(),
  agent: (login) => new LineAgent(login),
}

function recognise(first: Uint8Array): Recognition {
  const same = MAGIC.subarray(0, first.length).equals(first.subarray(0, MAGIC.length))
  if (!same) return { verdict: 'no' }
  return { verdict: first.length < MAGIC.length ? 'more' : 'mine' }
}

type Phase = 'new' | 'tls' | 'hello' | 'authorize' | 'dial' | 'relay' | 'ended'

class LineSession implements FramedSession {
  #phase: Phase = 'new'
  #refusal: string | undefined
  #target: (SessionEvent & { kind: 'start' })['target']
  #opening: Uint8Array = new Uint8Array(0)
  #hello = new Chunks(LINE_BYTES_MAX)
  /** True while the target is inside a line. */
  #inside = false

  bytes(from: Side, chunk: Uint8Array, at: number, out: Out): number {
    if (this.#phase === 'ended') return chunk.length
    if (this.#phase === 'relay') return this.#relay(from, chunk, at, out)
    return this.#phase === 'hello' && from === 'client' ? this.#greeted(chunk, at, out) : at
  }

  event(event: SessionEvent, out: Out): void {
    if (this.#phase === 'ended') return
    const key = `${this.#phase} ${event.kind}`
    if (event.kind === 'start' && key === 'new start') {
      this.#phase = 'tls'
      this.#target = event.target
      out.act({ kind: 'upgrade-tls', side: 'client' })
    } else if (event.kind === 'tls' && key === 'tls tls') {
      this.#phase = 'hello'
      this.#target ??= event.target
      if (event.peer === undefined) this.#refusal ??= event.refusal?.decisionId ?? 'no peer'
    } else if (event.kind === 'authorized' && key === 'authorize authorized') {
      this.#phase = 'dial'
      out.act({ kind: 'dial', right: event.right, opening: this.#opening })
    } else if (key === 'dial connected') this.#phase = 'relay'
    else if (event.kind === 'evict') this.refuse(event.refusal, out)
    else if (key !== 'relay ended' || (event.kind === 'ended' && event.side === 'target')) {
      if (event.kind !== 'time' && event.kind !== 'tap-ready') this.#end(key, out)
    }
  }

  refuse(refusal: Refusal, out: Out): void {
    if (this.#phase === 'ended') return
    if (this.#phase === 'tls' || this.#phase === 'hello') this.#refusal ??= refusal.decisionId
    else if (this.#phase === 'new' || this.#inside) this.#end('cut', out)
    else this.#say(refusal.decisionId, out)
  }

  #greeted(chunk: Uint8Array, at: number, out: Out): number {
    const newline = chunk.indexOf(NEWLINE, at)
    const to = newline < 0 ? chunk.length : newline + 1
    this.#hello.add(chunk, at, to)
    if (newline < 0) return to
    this.#opening = this.#hello.take()
    const [word, principal, resource, ...more] = Buffer.from(this.#opening)
      .toString()
      .trim()
      .split(' ')
    if (this.#refusal !== undefined) this.#say(this.#refusal, out)
    else if (word !== 'HELLO' || !principal || !resource || more.length > 0 || !this.#target) {
      this.#say('malformed', out)
    } else {
      this.#phase = 'authorize'
      out.act({ kind: 'authorize', access: { target: this.#target, principal, resource } })
    }
    return to
  }

  /** Every piece of a line is noted; how much of a line is still to come nobody can know, so each piece stands alone. */
  #relay(from: Side, chunk: Uint8Array, at: number, out: Out): number {
    for (let o = at; o < chunk.length; o++) {
      if (!out.note(LINE_NOTE[from], o, o + 1, 0)) return o
      out.pass(o, o + 1)
    }
    if (from === 'target' && chunk.length > at) this.#inside = chunk.at(-1) !== NEWLINE
    return chunk.length
  }

  #say(text: string, out: Out): void {
    out.send('client', Buffer.from(`NO ${text}\n`))
    this.#end(text, out)
  }

  #end(reason: string, out: Out): void {
    this.#phase = 'ended'
    out.act({ kind: 'end', reason })
  }
}

class LineAgent implements FramedSession {
  readonly #login: TargetLogin
  readonly #greeting = new Chunks(LINE_BYTES_MAX)
  #phase: 'new' | 'login' | 'over' = 'new'

  constructor(login: TargetLogin) {
    this.#login = login
  }

  bytes(_from: Side, chunk: Uint8Array, at: number, out: Out): number {
    if (this.#phase !== 'login') return at
    const newline = chunk.indexOf(NEWLINE, at)
    const to = newline < 0 ? chunk.length : newline + 1
    this.#greeting.add(chunk, at, to)
    if (newline < 0) return to
    const welcome = Buffer.from(this.#greeting.take()).toString() === 'WELCOME\n'
    this.#finish(welcome ? { kind: 'ready' } : { kind: 'end', reason: 'no welcome' }, out)
    return to
  }

  event(event: SessionEvent, out: Out): void {
    if (event.kind === 'start') {
      this.#phase = 'login'
      out.send('target', this.#login.opening)
    } else if (event.kind === 'ended') this.#finish({ kind: 'end', reason: 'ended' }, out)
    else if (event.kind === 'evict') this.refuse(event.refusal, out)
  }

  refuse(refusal: Refusal, out: Out): void {
    this.#finish({ kind: 'end', reason: refusal.reason }, out)
  }

  #finish(action: { kind: 'ready' } | { kind: 'end'; reason: string }, out: Out): void {
    if (this.#phase === 'over') return
    this.#phase = 'over'
    out.act(action)
  }
}
