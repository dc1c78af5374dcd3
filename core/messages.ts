// What threads of one process say to each other: one union per direction. A message that carries a socket handle is sent
// through workers/pool.ts alone, with the handle in its transfer list. Rights (`Authorized`) cannot be in here: structured
// clone strips them.

import type { ServedTarget } from './agent-target.ts'
import type { AgentAnswer, AgentQuestion, ProxyAnswer, ProxyQuestion } from './questions.ts'
import type { LightSnapshot, LockSet } from './snapshot.ts'
import type { LinkFrame } from './tunnel/link.ts'
import type { OpenFrame } from './tunnel/open.ts'

/** A TCP handle on its way between threads; opaque outside workers/handover.ts. */
export type SocketHandle = object

/** Where a connection came from. `trusted`: the address is the peer's own or came in a header we trust. */
export interface Source {
  readonly address: string
  readonly port: number
  readonly trusted: boolean
}

/** Trust and keys, pushed by the main thread whenever they change; workers start with one of each. */
export type TrustMessage =
  | { readonly kind: 'snapshot'; readonly snapshot: LightSnapshot }
  | { readonly kind: 'locks'; readonly lockSet: LockSet }
  | { readonly kind: 'beacon'; readonly atMs: number }
  /** This process's own certificate chain and key, PEM. */
  | { readonly kind: 'host'; readonly certificate: string; readonly key: string }
  /** The same of its SSH host key: the certificate's wire bytes, the key as PKCS#8 in PEM. */
  | { readonly kind: 'ssh-host'; readonly certificate: Uint8Array; readonly key: string }
  /** Session ticket keys of one TLS purpose, 48 bytes; shared by the workers of this process. */
  | { readonly kind: 'resumption-keys'; readonly purpose: string; readonly keys: Uint8Array }

/** A message for a live session: its key, and where it came from. */
interface Signal {
  readonly key: Uint8Array
  readonly address: string
  readonly port: number
}

/** To every worker: is this for a session of yours? Answered by `signal-answer`; the session hears of it by then. */
export type SignalQuestion = Signal & { readonly kind: 'signal'; readonly id: number }
export interface SignalAnswer {
  readonly kind: 'signal-answer'
  readonly id: number
  readonly hit: boolean
}

/** From a worker: a client of its own brought one. */
export type SignalFound = Signal & { readonly kind: 'signal' }

export type SignalFromProxyWorker =
  | SignalFound
  | SignalAnswer
  /** A session whose TLS ends at the proxy was signalled: its agent is told the key it showed there. */
  | (Signal & { readonly kind: 'signal-agent'; readonly agentId: string })

/** A spare a worker may use for one session. */
export interface SpareGrant {
  readonly handle: SocketHandle
  readonly spareId: string
  readonly agentId: string
  /** `K` of the agent's link: MACs open and accept frames. */
  readonly key: Uint8Array
}

type WithoutSpare<F> = F extends OpenFrame ? Omit<F, 'spareId' | 'expiresAtMs'> : never

/** What the open frame of a session says; the worker adds the spare's id and expiry when it has one. */
export type OpenRequest = WithoutSpare<OpenFrame>

export type ToProxyWorker =
  | TrustMessage
  | ToAuditQueue
  | ToRecorder
  | {
      readonly kind: 'relay'
      readonly session: number
      readonly client: SocketHandle
      /** Bytes read from the client so far: its ClientHello. */
      readonly first: Uint8Array
      readonly open: OpenRequest
      readonly agentId: string
      /** Absent: the pool is empty; one follows as `spare`, or `no-spare`. */
      readonly spare?: SpareGrant
    }
  | {
      readonly kind: 'spare'
      readonly session: number
      readonly spare: SpareGrant
      /** Terminate mode: what TLS with this agent may be resumed from. */
      readonly resume?: AgentResume
    }
  /** A client whose TLS ends here. What it wants is in its certificate. */
  | {
      readonly kind: 'terminate'
      readonly session: number
      readonly sessionId: string
      readonly client: SocketHandle
      readonly first: Uint8Array
      readonly stage: string
      readonly protocol: string
      readonly source: Source
      /** What signals for the session are named by; 0: none reaches it. */
      readonly signalHandle: number
    }
  /** A client with a login certificate and a node to reach: TLS ends here, SSH does not. What it wants is its first line. */
  | {
      readonly kind: 'way-in'
      /** `ssh`: the outer SSH of a jump, in which the node is asked for. */
      readonly begins: 'tls' | 'ssh'
      readonly session: number
      readonly sessionId: string
      readonly client: SocketHandle
      readonly first: Uint8Array
      readonly source: Source
    }
  /** Reply to a `question`. */
  | { readonly kind: 'told'; readonly id: number; readonly answer: ProxyAnswer }
  | { readonly kind: 'no-spare'; readonly session: number }
  /** Relay to control, unread. */
  | {
      readonly kind: 'control'
      readonly session: number
      readonly client: SocketHandle
      readonly first: Uint8Array
    }
  /** Reply to an `ask`. */
  | {
      readonly kind: 'answer'
      readonly id: number
      readonly status: number
      readonly body: string
    }
  | {
      readonly kind: 'link'
      readonly client: SocketHandle
      readonly first: Uint8Array
      readonly source: Source
    }
  | {
      readonly kind: 'front'
      readonly client: SocketHandle
      readonly first: Uint8Array
      readonly source: Source
    }
  /** The HTTP front's certificate and key as they are now, PEM. */
  | { readonly kind: 'front-keys'; readonly certificate: string; readonly key: string }
  | SignalQuestion
  | { readonly kind: 'to-agent'; readonly agentId: string; readonly frame: LinkFrame }
  | { readonly kind: 'cut-agent'; readonly agentId: string; readonly reason: string }
  /** End the sessions of a subject tag (a user lock) or of one agent. */
  | { readonly kind: 'cut-sessions'; readonly sessions: readonly number[]; readonly reason: string }
  | { readonly kind: 'drain'; readonly deadlineMs: number }

/** TLS sessions with agents are good for one epoch: it ends with every change of trust, locks or the proxy's own certificate. */
export interface AgentResume {
  readonly epoch: number
  /** Absent: none is known, and the one that comes is worth keeping. */
  readonly known?: AgentTlsSession
}

export interface AgentTlsSession {
  /** As OpenSSL writes it; holds a secret. */
  readonly session: Uint8Array
  /** SHA-256 of the certificate that was verified when it began: on resumption the agent shows none. */
  readonly fingerprint: string
}

export interface RelayCounters {
  readonly fromClientBytes: number
  readonly fromTargetBytes: number
}

export type FromProxyWorker =
  | FromAuditQueue
  | FromRecorder
  /** A browser's call that the front passes on to control. */
  | {
      readonly kind: 'ask'
      readonly id: number
      readonly method: string
      readonly path: string
      readonly body: string
    }
  | {
      readonly kind: 'link-up'
      readonly agentId: string
      readonly key: Uint8Array
      readonly services: readonly string[]
      readonly version: string
      readonly source: Source
    }
  | { readonly kind: 'link-down'; readonly agentId: string; readonly reason: string }
  | { readonly kind: 'from-agent'; readonly agentId: string; readonly frame: LinkFrame }
  | {
      readonly kind: 'need-spare'
      readonly session: number
      readonly agentId: string
      /** The agent answered that it does not take the session; absent: its spare died before an answer. */
      readonly refused?: 'drain' | 'no-target'
    }
  | { readonly kind: 'question'; readonly id: number; readonly question: ProxyQuestion }
  | { readonly kind: 'release-lease'; readonly lease: string }
  | {
      readonly kind: 'audit'
      readonly name: string
      readonly code: string
      readonly fields: AuditFieldsByName
    }
  /** TLS with an agent that may be resumed from now on. */
  | ({
      readonly kind: 'agent-tls-session'
      readonly agentId: string
      readonly serverName: string
      readonly epoch: number
    } & AgentTlsSession)
  | SignalFromProxyWorker
  | { readonly kind: 'accepted'; readonly session: number }
  /** An agent's spare brought a forged, replayed or truncated answer. */
  | {
      readonly kind: 'bad-answer'
      readonly agentId: string
      readonly spareId: string
      readonly reason: string
    }
  | {
      readonly kind: 'ended'
      readonly session: number
      readonly reason: string
      readonly counters: RelayCounters
    }
  | {
      readonly kind: 'refused-link'
      readonly agentId?: string
      readonly reason: string
      readonly source: Source
    }
  | { readonly kind: 'drained' }

export type ToAgentWorker =
  | TrustMessage
  | ToAuditQueue
  | ToRecorder
  /** The targets this agent owns, and its server certificate for their names (PEM chain and key). */
  | {
      readonly kind: 'targets'
      readonly targets: readonly ServedTarget[]
      readonly certificate: string
      readonly key: string
    }
  | {
      readonly kind: 'spare'
      readonly client: SocketHandle
      readonly first: Uint8Array
      readonly spareId: string
      readonly proxyId: string
      readonly key: Uint8Array
    }
  | { readonly kind: 'answer'; readonly id: number; readonly answer: AgentAnswer }
  | SignalQuestion
  | { readonly kind: 'drain'; readonly deadlineMs: number }

/** A thread's statements on their way to the spool (workers/audit-queue.ts); answered by one `statements-kept` with the same id. */
export type FromAuditQueue =
  | {
      readonly kind: 'statements'
      readonly id: number
      /** Canonical JSON of events, one per line. */
      readonly bodies: string
      /** `strict`: what is not kept is offered again. `best_effort`: it is counted as lost. */
      readonly rule: 'strict' | 'best_effort'
    }
  /** The spool did not answer for so long that these were given up. */
  | { readonly kind: 'statements-lost'; readonly count: number; readonly sinceMs: number }

export type ToAuditQueue = {
  readonly kind: 'statements-kept'
  readonly id: number
  readonly outcome: 'kept' | 'refused' | 'lost'
}

/**
 * A chunk of a session's recording on its way to the spool (workers/recorder.ts), whose bytes move to the main thread; answered by one
 * `recording-kept` with the same `sid` and `seq`. The first has the file's head before it.
 */
export interface FromRecorder {
  readonly kind: 'recording'
  readonly sid: string
  readonly seq: number
  /** The end: nothing follows. */
  readonly last: boolean
  /** Of the chunk, chained: what the audit log hears of it. */
  readonly hash: string
  readonly bytes: Uint8Array<ArrayBuffer>
}

/** `kept`: durable. `refused`: the disk is full or broken. `unwanted`: there is such a recording, or its name is none. */
export type RecordingOutcome = 'kept' | 'refused' | 'unwanted'

export interface ToRecorder {
  readonly kind: 'recording-kept'
  readonly sid: string
  readonly seq: number
  readonly outcome: RecordingOutcome
}

export type AuditFieldsByName = Readonly<Record<string, unknown>>

export type FromAgentWorker =
  | FromAuditQueue
  | FromRecorder
  | { readonly kind: 'ask'; readonly id: number; readonly question: AgentQuestion }
  | { readonly kind: 'release-lease'; readonly lease: string }
  | {
      readonly kind: 'audit'
      readonly name: string
      readonly code: string
      readonly fields: AuditFieldsByName
    }
  | SignalFound
  | SignalAnswer
  | { readonly kind: 'session-opened' }
  | { readonly kind: 'session-ended' }
  | { readonly kind: 'drained' }
