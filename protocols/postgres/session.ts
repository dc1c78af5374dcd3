// The client's side of PostgreSQL: TLS, start-up, authorisation, dial, then a relay that looks at frames. Phases, what is read
// and what is refused: README.md. It has one private phase and is deterministic in its inputs; it never decides who may what.

import type { TargetRef } from '../../core/identity.ts'
import { max } from '../../core/limits.ts'
import type {
  Access,
  FramedSession,
  Out,
  Refusal,
  SessionEvent,
  Side,
  SignalIdentity,
} from '../../core/protocol.ts'
import { keyTaker } from './cancel.ts'
import { Frames, KIND, kinds, PacketReader, readStartup } from './codec.ts'
import type { Fatal } from './refusal.ts'
import { denied, errorResponse, evicted, unreachable, violation } from './refusal.ts'
import { ALPN, BACKEND, FRONTEND, NOTE_TARGET, SQLSTATE, STAGE } from './wire.ts'

type Phase =
  | { readonly name: 'new' }
  /** The client's TLS handshake runs: nothing can be said yet. */
  | { readonly name: 'tls'; readonly opening: Opening }
  | { readonly name: 'startup'; readonly opening: Opening; readonly reader: PacketReader }
  | {
      readonly name: 'authorize'
      readonly packet: Uint8Array
      readonly signal: SignalIdentity | undefined
    }
  | { readonly name: 'dial'; readonly signal: SignalIdentity | undefined }
  | { readonly name: 'relay'; readonly client: Frames; readonly target: Frames }
  | { readonly name: 'ended' }

/** What is known before the start-up message. A refusal waits for it: an answer sent ahead of it is lost in a reset. */
interface Opening {
  readonly stage: string
  readonly target: TargetRef | undefined
  readonly signal: SignalIdentity | undefined
  readonly refusal?: Fatal
}

/** Messages a client may send once it is in; the judged ones are noted. 'p' is not here: the agent half has logged in. */
const FROM_CLIENT = kinds([
  [FRONTEND.query, KIND.note],
  [FRONTEND.parse, KIND.note],
  [FRONTEND.bind, KIND.note],
  [FRONTEND.execute, KIND.note],
  [FRONTEND.functionCall, KIND.note],
  [FRONTEND.close, KIND.note],
  [FRONTEND.terminate, KIND.note],
  [FRONTEND.describe, KIND.note],
  [FRONTEND.sync, KIND.note],
  [FRONTEND.flush, KIND.pass],
  [FRONTEND.copyData, KIND.pass],
  [FRONTEND.copyDone, KIND.note],
  [FRONTEND.copyFail, KIND.note],
])

/** The target's first messages: the outcome of the login that the agent half saw. */
const FROM_TARGET_FIRST = kinds([
  [BACKEND.authentication, KIND.pass | KIND.last],
  [BACKEND.errorResponse, KIND.note | KIND.last],
  [BACKEND.negotiateProtocolVersion, KIND.pass],
  [BACKEND.noticeResponse, KIND.pass],
])

/** Everything else a server says. No authentication: a hostile target must not ask the person for a password. */
const FROM_TARGET = kinds([
  ...Object.entries(BACKEND)
    .filter(([name]) => name !== 'authentication' && name !== 'negotiateProtocolVersion')
    .map(([, code]): [number, number] => [code, KIND.pass]),
  [BACKEND.errorResponse, KIND.note],
  [BACKEND.commandComplete, KIND.note],
  [BACKEND.rowDescription, KIND.note],
  [BACKEND.readyForQuery, KIND.note],
  [BACKEND.parseComplete, KIND.note],
  [BACKEND.bindComplete, KIND.note],
  [BACKEND.closeComplete, KIND.note],
  [BACKEND.noData, KIND.note],
  [BACKEND.emptyQueryResponse, KIND.note],
  [BACKEND.portalSuspended, KIND.note],
  [BACKEND.functionCallResponse, KIND.note],
  [BACKEND.copyInResponse, KIND.note],
  [BACKEND.copyOutResponse, KIND.note],
  [BACKEND.copyBothResponse, KIND.note],
])

/** The same where cancel requests reach the session: the client is shown a key of ours. */
const FROM_TARGET_KEYED = FROM_TARGET.with(BACKEND.backendKeyData, KIND.take)

const NO_CERTIFICATE: Fatal = {
  code: SQLSTATE.invalidAuthorization,
  message: 'access denied by Sluice policy: no certificate of a Sluice user was shown',
  detail: 'This was decided by Sluice, not by PostgreSQL.',
  hint: 'Run tsh login and tsh db login, and connect with the files they write.',
}

export class PostgresSession implements FramedSession {
  #phase: Phase = { name: 'new' }

  bytes(from: Side, chunk: Uint8Array, at: number, out: Out): number {
    const phase = this.#phase
    switch (phase.name) {
      case 'relay':
        return this.#relay(from, phase, chunk, at, out)
      case 'startup':
        return from === 'client' ? this.#startup(phase, chunk, at, out) : at
      case 'ended':
        return chunk.length
      case 'new':
      case 'tls':
      case 'authorize':
      case 'dial':
        return at
    }
  }

  event(event: SessionEvent, out: Out): void {
    const phase = this.#phase
    if (phase.name === 'ended') return
    switch (event.kind) {
      case 'start':
        return this.#start(event, out)
      case 'tls':
        return this.#secured(event, out)
      case 'authorized':
        if (phase.name !== 'authorize') return this.#impossible(event, out)
        this.#phase = { name: 'dial', signal: phase.signal }
        return out.act({ kind: 'dial', right: event.right, opening: phase.packet })
      case 'connected':
        return phase.name === 'dial' ? this.#connected(phase.signal) : this.#impossible(event, out)
      case 'dial-failed':
        return this.#fail(unreachable(event.message), out)
      case 'evict':
        return this.refuse(event.refusal, out)
      case 'ended':
        return this.#sideEnded(event.side, out)
      case 'tap-ready':
      case 'time':
        return
    }
  }

  refuse(refusal: Refusal, out: Out): void {
    this.#fail(this.#phase.name === 'relay' ? evicted(refusal) : denied(refusal), out)
  }

  #start(event: SessionEvent & { kind: 'start' }, out: Out): void {
    if (this.#phase.name !== 'new') return this.#impossible(event, out)
    // Recognition lets no start-up in clear through, so every stage goes on with the client's hello.
    const { stage, target, signal } = event
    this.#phase = { name: 'tls', opening: { stage, target, signal } }
    out.act({ kind: 'upgrade-tls', side: 'client' })
  }

  #secured(event: SessionEvent & { kind: 'tls' }, out: Out): void {
    if (this.#phase.name !== 'tls' || event.side !== 'client') return this.#impossible(event, out)
    const { opening } = this.#phase
    // ALPN decides (another protocol's client must not be talked into this one); without it only behind an SSLRequest.
    const unnamed = event.alpn === undefined && opening.stage === STAGE.ssl
    if (!unnamed && event.alpn !== ALPN) return this.#end(`ALPN ${event.alpn ?? 'absent'}`, out)
    const reader = new PacketReader(0, max('pgStartupBytesMax'))
    let { refusal } = opening
    if (event.refusal !== undefined) refusal ??= denied(event.refusal)
    else if (event.peer === undefined) refusal ??= NO_CERTIFICATE
    const target = opening.target ?? event.target
    const { stage, signal } = opening
    const known = { stage, target, signal, ...(refusal === undefined ? {} : { refusal }) }
    this.#phase = { name: 'startup', opening: known, reader }
  }

  #startup(phase: Phase & { name: 'startup' }, chunk: Uint8Array, at: number, out: Out): number {
    const to = phase.reader.add(chunk, at)
    if (phase.reader.bad) {
      this.#say(phase.opening.refusal ?? violation('the start-up message has a bad length'), out)
      return chunk.length
    }
    const packet = phase.reader.take()
    if (packet !== undefined) this.#opened(phase.opening, packet, out)
    return to
  }

  #opened(opening: Opening, packet: Uint8Array, out: Out): void {
    const startup = readStartup(packet)
    // A cancel inside TLS (libpq 17 and later): its key is all its right, whoever brings it, and it is never answered.
    if (startup.kind === 'cancel') {
      out.act({ kind: 'signal', key: startup.key })
      return this.#end('cancel request', out)
    }
    if (opening.refusal !== undefined) return this.#say(opening.refusal, out)
    if (startup.kind === 'request') {
      return this.#say(violation('a request for encryption inside TLS'), out)
    }
    if (startup.kind === 'version') {
      const version = `${startup.major}.${startup.minor}`
      const reason = `protocol version ${version}; Sluice carries version 3`
      return this.#say(violation(reason, SQLSTATE.featureNotSupported), out)
    }
    if (startup.kind === 'bad') return this.#say(violation(startup.reason), out)
    if (opening.target === undefined) {
      return this.#say(violation('the connection names no database service'), out)
    }
    this.#phase = { name: 'authorize', packet, signal: opening.signal }
    const access: Access = {
      target: opening.target,
      principal: startup.user,
      resource: startup.database,
      ...(startup.replication ? { replication: true } : {}),
    }
    out.act({ kind: 'authorize', access })
  }

  #connected(signal: SignalIdentity | undefined): void {
    this.#phase = {
      name: 'relay',
      client: new Frames({ to: 'target', kinds: FROM_CLIENT, noteBase: 0 }),
      target: new Frames({
        to: 'client',
        kinds: FROM_TARGET_FIRST,
        noteBase: NOTE_TARGET,
        ...(signal === undefined
          ? { after: FROM_TARGET }
          : { after: FROM_TARGET_KEYED, taken: keyTaker(signal) }),
      }),
    }
  }

  #relay(
    from: Side,
    phase: Phase & { name: 'relay' },
    chunk: Uint8Array,
    at: number,
    out: Out,
  ): number {
    const frames = from === 'client' ? phase.client : phase.target
    const to = frames.scan(chunk, at, out)
    if (frames.fault === undefined) return to
    const detail = `${frames.fault} (from the ${from})`
    out.act({ kind: 'audit', code: 'TDB06I', fields: { payload: detail } })
    this.#fail(violation(detail), out)
    return chunk.length
  }

  #sideEnded(side: Side, out: Out): void {
    // A client that only closes its sending half still gets the rest of its answers, as from the server itself.
    if (this.#phase.name === 'relay' && side === 'client') return
    this.#end(`the ${side} ended the connection`, out)
  }

  /** Say it now, keep it for when the client can hear, or cut: an error inside another message would be read as its data. */
  #fail(fatal: Fatal, out: Out): void {
    const phase = this.#phase
    switch (phase.name) {
      case 'tls':
        this.#phase = { name: 'tls', opening: { refusal: fatal, ...phase.opening } }
        return
      case 'startup':
        this.#phase = { ...phase, opening: { refusal: fatal, ...phase.opening } }
        return
      case 'relay':
        return phase.target.between ? this.#say(fatal, out) : this.#end(fatal.message, out)
      case 'new':
      case 'ended':
        return this.#end(fatal.message, out)
      case 'authorize':
      case 'dial':
        return this.#say(fatal, out)
    }
  }

  #say(fatal: Fatal, out: Out): void {
    out.send('client', errorResponse(fatal))
    this.#end(fatal.message, out)
  }

  #end(reason: string, out: Out): void {
    if (this.#phase.name === 'ended') return
    this.#phase = { name: 'ended' }
    out.act({ kind: 'end', reason })
  }

  /** An event this phase does not wait for is a defect of the performer: nothing more is carried. */
  #impossible(event: SessionEvent, out: Out): void {
    this.#end(`event ${event.kind} in phase ${this.#phase.name}`, out)
  }
}
