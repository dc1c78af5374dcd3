// The one error class of Sluice. A refusal is a value (`Refusal`); a failure is a ProxyError.
// `code` is stable and documented in docs/errors.md (a test keeps both equal); a retired code is never used again.

/** Whose fault: the client's, the target's, or ours. */
export type ErrorSide = 'client' | 'target' | 'us'

/** Every code with what it means. Sorted; grouped by the prefix before the dot. */
export const ERROR_CODES = {
  'audit.chain-broken': 'The audit log fails verification.',
  'audit.full': 'The audit spool is full and the policy does not allow to go on.',
  'audit.unavailable': 'The audit sink did not acknowledge in time.',
  'cert.chain': 'A certificate does not chain to the CA this purpose demands.',
  'cert.expired': 'A certificate is outside its validity.',
  'cert.identity': 'A certificate carries no identity, or one that is unknown or not canonical.',
  'cert.malformed': 'Bytes that are not the DER, PEM or OpenSSH structure they should be.',
  'cert.purpose': 'A certificate is for another purpose (extended key usage, role or issuer).',
  'config.invalid': 'The configuration file is wrong; the message names the line.',
  'control.unavailable': 'Control cannot be reached.',
  'dial.failed': 'The target could not be reached.',
  'dial.no-agent': 'No agent that serves the target is connected.',
  'frame.bad-mac': 'A tunnel frame was not made by the peer of this link.',
  'frame.malformed': 'A tunnel frame is truncated, too long or of another version.',
  'frame.replayed': 'A tunnel frame or spare ticket was used before or is too old.',
  'limit.exceeded': 'A named limit was reached; the message names it.',
  'login.failed': 'User name, password or one-time code is wrong.',
  'login.locked': 'A lock is in force.',
  'permit.forged': 'A permit beside a forwarded certificate was not signed by control.',
  'policy.denied': 'Policy denied the request; the message carries the decision id.',
  'protocol.violation': 'Bytes that the protocol does not allow at this point.',
  'recording.damaged': 'A recording is not what was written; the message says where.',
  'recording.store-full':
    'Control keeps as many recordings as it may; hosts keep theirs and try again.',
  'resource.conflict': 'The resource changed since it was read (compare-and-swap failed).',
  'resource.invalid': 'A resource does not match its schema.',
  'resource.not-found': 'No such resource.',
  'runtime.unfit': 'The runtime lacks something Sluice is built on; the self-test names it.',
  'signer.refused': 'The signer refuses to sign outside its templates.',
  'signer.unavailable': 'The signer process does not answer, or its keys cannot be opened.',
  'snapshot.forged': 'A snapshot, lock set or beacon has no valid signature of control.',
  'snapshot.rolled-back': 'A snapshot is older than one already seen.',
  'snapshot.stale': 'No beacon of control within the staleness bound.',
  'store.resync': 'A watch token is too old or of another history; read the range again.',
  'store.unavailable': 'The state store did not answer or is closed.',
  'ticket.invalid': 'A routing ticket is forged, expired or malformed.',
  'trust.unproven': 'The peer could not prove to be the cluster that was pinned.',
} as const

export type ErrorCode = keyof typeof ERROR_CODES

export interface ErrorDetails {
  readonly side?: ErrorSide
  /** True when the same call may succeed later without any change. */
  readonly retry?: boolean
  readonly cause?: unknown
  /** For the log only: never shown to a peer, never holds a secret. */
  readonly detail?: string
  /** What the person can do next. */
  readonly next?: string
}

/** A failure. `message` is for the person; `detail` for the log. Match on `code`, not on `instanceof` (threads copy errors). */
export class ProxyError extends Error {
  override readonly name = 'ProxyError'
  readonly code: ErrorCode
  readonly side: ErrorSide
  readonly retry: boolean
  readonly detail: string | undefined
  readonly next: string | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.side = details.side ?? 'us'
    this.retry = details.retry ?? false
    this.detail = details.detail
    this.next = details.next
  }
}

/** The error's code, for errors of ours from any thread or process; undefined for others. */
export function errorCode(error: unknown): ErrorCode | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined
  const code = error.code
  return typeof code === 'string' && code in ERROR_CODES ? (code as ErrorCode) : undefined
}
