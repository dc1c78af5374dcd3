// The contract between a protocol and the threads that carry it. A protocol decides; workers/perform.ts does.
// Two shapes: `framed` sessions judge chunks in place (databases, RDP); `streaming` sessions own a duplex (SSH, HTTP, Kubernetes).
// Nothing here opens a socket, reads a clock or holds a key. The clauses are tested for every registry row by test/contract.ts.

import type { CertificateFacts, TargetRef, UserIdentity } from './identity.ts'
import type { Authorized } from './login.ts'
import type { SshServices } from './ssh/services.ts'
import type { ByteStream } from './stream.ts'

/** Which end a byte came from or goes to. */
export type Side = 'client' | 'target'

/**
 * The lesser right of relay mode: one spare of one agent, for a routing ticket whose MAC was good. It reaches no target.
 */
export interface Passage {
  readonly agentId: string
  readonly target: TargetRef
  /** Identifies the ticket for limits; says nothing about the person. */
  readonly ticketId: string
}

/** What somebody wants of a target: as which principal (database user, login), and which resource of it (database name). */
export interface Access {
  readonly target: TargetRef
  readonly principal: string
  readonly resource: string
  /** A database's stream of changes (PostgreSQL `replication`), which a role must grant by itself (`options.db_replication`). */
  readonly replication?: true
}

/** What policy allowed. */
export interface Grant {
  /** Roles that allowed it, each by itself. */
  readonly roles: readonly string[]
  /** 0: no idle limit. */
  readonly idleMsMax: number
  /** What an administrator wants to be said then, `client_idle_timeout_message`. */
  readonly idleMessage?: string
  /** 0: no limit on the user's sessions of all kinds. */
  readonly connectionsMax: number
  readonly lockMode: 'strict' | 'best_effort'
  /** What becomes of the session when its statements cannot be kept: it ends, or the loss is counted. */
  readonly recordingMode: 'strict' | 'best_effort'
  /** Of nodes only. Absent means no to all of it. */
  readonly ssh?: SshGrant
}

/** What the roles that granted an SSH session allow in it, beside shells and commands. */
export interface SshGrant {
  readonly forwardAgent: boolean
  readonly localForwarding: boolean
  readonly remoteForwarding: boolean
  readonly x11: boolean
  readonly fileCopy: boolean
  /** `max_sessions`: session channels of one connection at once. 0: no limit but the transport's. */
  readonly sessionsMax: number
}

/** A denial. `reason` and `next` are shown to the person; neither tells whether something they may not see exists. */
export interface Refusal {
  readonly decisionId: string
  readonly kind: 'policy' | 'lock' | 'limit' | 'expired' | 'unavailable' | 'identity'
  readonly reason: string
  readonly next: string
}

/** Recognition of first bytes, run in the main thread. Small, pure, total. */
export type Recognition =
  | { readonly verdict: 'more' }
  | { readonly verdict: 'no' }
  /** Send `bytes` and go on with what follows the `consumed` bytes; `bytes` is at most one byte (main writes no more). `stage` names where the handshake now stands. */
  | {
      readonly verdict: 'answer'
      readonly bytes: Uint8Array
      readonly consumed: number
      readonly stage: string
    }
  /** A message without an identity that must reach a live session (PostgreSQL CancelRequest). `key` begins with its handle (core/tunnel/signal.ts). */
  | { readonly verdict: 'signal'; readonly key: Uint8Array }
  | { readonly verdict: 'mine' }

/** Things that happen to a session besides bytes. Rare, so plain objects. */
export type SessionEvent =
  /** The session begins. `stage` is where recognition left it: '' or the stage of the last answer. */
  | {
      readonly kind: 'start'
      readonly stage: string
      readonly target?: TargetRef
      readonly nowMs: number
      /** Absent: nothing can reach this session from outside of it. */
      readonly signal?: SignalIdentity
    }
  /** TLS is up. A client without `peer` is to be refused: with `refusal` when the performer knows why (expired, locked, over a limit). */
  | {
      readonly kind: 'tls'
      readonly side: Side
      readonly peer?: Peer
      readonly alpn?: string
      readonly refusal?: Refusal
      /** What the verified certificate is routed to, where the connection itself named no target. `start` goes before it. */
      readonly target?: TargetRef
      /** Target side: the hash of the server's certificate (RFC 5929, tls-server-end-point), for logins bound to the channel. */
      readonly endPoint?: Uint8Array
    }
  | { readonly kind: 'authorized'; readonly right: Authorized }
  /** The target is connected and logged in: bytes from it follow. */
  | { readonly kind: 'connected' }
  | { readonly kind: 'dial-failed'; readonly message: string }
  /** A side sent its last byte. Once connected, the performer passes a half-close on by itself. */
  | { readonly kind: 'ended'; readonly side: Side }
  | { readonly kind: 'tap-ready' }
  /** The session must end now, for a reason the person is told: lock, deadline, idle, drain. */
  | { readonly kind: 'evict'; readonly refusal: Refusal }
  | { readonly kind: 'time'; readonly nowMs: number }

/** What a session is called by messages that come on a connection of their own (PostgreSQL: process id and secret key). */
export interface SignalIdentity {
  /** 12 bits of proxy, 20 bits of slot; never 0. */
  readonly handle: number
  /** Random bytes, enough for any key the protocol shows (256 bits). */
  readonly secret: Uint8Array
}

/** The verified other end of a TLS connection. */
export interface Peer {
  readonly identity: UserIdentity
  readonly facts: CertificateFacts
}

/** Rare effects that another part must carry out. The session waits: it consumes nothing until the matching event. */
export type Action =
  /** Answered by `tls`. Unconsumed bytes of that side belong to the handshake. */
  | { readonly kind: 'upgrade-tls'; readonly side: Side; readonly servername?: string }
  /** Ask the one authorisation flow (core/login.ts). Answered by `authorized`, or by a call of `refuse`. */
  | { readonly kind: 'authorize'; readonly access: Access }
  /**
   * Open the target and log in with the protocol's agent half, which is given `opening` (for PostgreSQL the start-up message).
   * Answered by `connected` or `dial-failed`.
   */
  | { readonly kind: 'dial'; readonly right: Authorized; readonly opening: Uint8Array }
  /**
   * Agent half only: the login is done; bytes not consumed belong to the session. `first` holds bytes of the target that were
   * consumed while they were judged and that the client must still see: the session is offered them ahead of the rest.
   */
  | { readonly kind: 'ready'; readonly first?: Uint8Array }
  | { readonly kind: 'wake-at'; readonly atMs: number }
  /** This connection brought a message for another session (a cancel inside TLS). Nobody answers; `end` follows. */
  | { readonly kind: 'signal'; readonly key: Uint8Array }
  /** From now on a signal with the key `shown` is for this session, and its target is told `real` (`FramedProtocol.signal`). */
  | { readonly kind: 'signal-key'; readonly shown: Uint8Array; readonly real: Uint8Array }
  | { readonly kind: 'audit'; readonly code: string; readonly fields: AuditFields }
  /** Write out what was sent, then end both sides. From an agent half before `ready`: the dial failed, and `reason` says why. */
  | { readonly kind: 'end'; readonly reason: string }

export type AuditFields = Readonly<
  Record<string, string | number | boolean | readonly string[] | undefined>
>

/**
 * Where a framed session puts its verdicts. The hot methods take numbers and the chunk being judged, so a message costs no object.
 * Neighbouring `pass` ranges become one write; everything is written before `bytes()` is called again.
 */
export interface Out {
  /** Forward chunk[from, to) of the chunk being judged unchanged to the other side. */
  pass(from: number, to: number): void
  /** Send bytes of our own. Order with `pass` is kept. The performer copies when it must keep them. */
  send(to: Side, bytes: Uint8Array): void
  /**
   * Tell audit and recording of message `code` (the protocol's own number, different for each side), body in chunk[from, to).
   * `rest` bytes of the body are still to come: they follow as further notes of the same code, each before its bytes pass.
   * False: the tap is full and the mode is `sync`; nothing was taken; stop and wait for `tap-ready`.
   */
  note(code: number, from: number, to: number, rest: number): boolean
  act(action: Action): void
}

/** A class with one private phase, deterministic in its inputs. */
export interface FramedSession {
  /**
   * Judge chunk[at..]. Returns how far it was consumed (an index into chunk); the rest is kept and offered again after the next
   * event. Bytes left unconsumed mean that the session waits for an event, never that it needs more bytes: a message cut by
   * the end of the chunk is consumed and kept by the session, within a named limit. The chunk is the performer's: copy to keep.
   */
  bytes(from: Side, chunk: Uint8Array, at: number, out: Out): number
  event(event: SessionEvent, out: Out): void
  /**
   * Say no in this protocol's own words, at any phase, and `end`. Total: never throws. While the client cannot hear yet (a TLS
   * handshake, a start-up message it still sends) the refusal is kept, said as soon as it can be, and nothing else happens.
   */
  refuse(refusal: Refusal, out: Out): void
}

/** One thing that audit and recording hear of a session: `code` is a row of core/audit/catalogue.ts. */
export interface Observation {
  readonly code: string
  readonly fields: AuditFields
  /** When it was asked, on the clock of the notes. */
  readonly askedAtMs: number
}

/**
 * Makes statements of a session's notes: what was asked, with which parameters, what came of it, how long it took. One per session,
 * pure and bounded. An observation is reported before the bytes that complete it pass on; secrets in statements are redacted here.
 */
export interface Observer {
  /**
   * The arguments of `Out.note`, and the monotonic time (milliseconds, fractions count). False: as many statements are without
   * an answer as the protocol's limit allows: nothing was taken, and it may be offered again once the target has answered.
   * Notes of the target's are always taken.
   */
  note(
    code: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
    atMs: number,
  ): boolean
  /** Why an answer cannot be attributed to what was asked. It was reported, and the session must end: nothing more is taken. */
  readonly fault: string | undefined
  /** The session is over: reports what was never answered. */
  end(atMs: number): void
}

/** How a stored password may be proved. SCRAM shows nothing of it; the others nearly or wholly do, so somebody must have allowed them. */
export type PasswordMethod = 'scram' | 'md5' | 'cleartext'

export interface StoredPassword {
  readonly password: string
  readonly methods: readonly PasswordMethod[]
}

/** What the agent half is told about the target it logs in to. Secrets come as values, never through the environment. */
export interface TargetLogin {
  readonly right: Authorized
  readonly opening: Uint8Array
  /** True when the performer holds a client certificate for this principal and will present it on `upgrade-tls`. */
  readonly certificate: boolean
  readonly tls: 'verify-full' | 'verify-ca' | 'insecure' | 'off'
  readonly servername: string
  /** A stored password of this principal; absent: none, and a target that asks for one is not logged in to. */
  readonly stored?: StoredPassword
  /** Random bytes for nonces: a protocol draws none. */
  readonly random: Uint8Array
}

interface Common {
  /** Engine id and the name of the folder: `postgres`. */
  readonly name: string
  /** ALPN names that mean this protocol when a client begins with TLS at once. */
  readonly alpn: readonly string[]
  readonly kind: TargetRef['kind']
  readonly defaultPort: number
  recognise(first: Uint8Array): Recognition
}

export interface FramedProtocol extends Common {
  readonly shape: 'framed'
  /** Client side: from the first byte to the end, relay included. */
  session(): FramedSession
  /** Target side: from connect to `ready`. */
  agent(login: TargetLogin): FramedSession
  /** Statements of a session for audit and recording; absent: the protocol has none. */
  readonly observer?: (report: (observation: Observation) => void) => Observer
  /** Target side of a signal: from connect until the target was told `real`, then `ready`. Its `opening` is empty. */
  signal?(login: TargetLogin, real: Uint8Array): FramedSession
}

/** What a streaming session may ask of its thread. The same services perform.ts carries out for framed ones. */
export interface Host {
  readonly nowMs: () => number
  /** A certificate shown inside the protocol (OpenSSH), its key proved there: checked as one shown in TLS is. */
  identify(certificate: Uint8Array): Promise<Peer | Refusal>
  authorize(peer: Peer, access: Access): Promise<Authorized | Refusal>
  dial(right: Authorized, signal: AbortSignal): Promise<ByteStream>
  upgradeTls(
    stream: ByteStream,
    side: Side,
  ): Promise<{ stream: ByteStream; peer?: Peer; alpn?: string }>
  tap(right: Authorized): Tap
  audit(code: string, fields: AuditFields): void
  /** Bytes of the session passed, either way: it is not idle. Called often. */
  active(): void
  /** For SSH alone. */
  readonly ssh?: SshServices
}

/** Recording and statement log of one session: bounded, copies what it takes. */
export interface Tap {
  /** False: nothing was taken; offer it again once `ready()` has resolved. `rest` as in `Out.note`. */
  put(code: number, bytes: Uint8Array, from: number, to: number, rest: number): boolean
  /** Resolves when something changed that may let the last refused `put` in. */
  ready(): Promise<void>
  seal(reason: string): Promise<void>
}

export interface StreamingProtocol extends Common {
  readonly shape: 'streaming'
  /** Serve one client until it ends; `signal` aborts with the Refusal that ends it as its reason. */
  session(
    client: ByteStream,
    start: { stage: string; target?: TargetRef },
    host: Host,
    signal: AbortSignal,
  ): Promise<void>
}

export type Protocol = FramedProtocol | StreamingProtocol
