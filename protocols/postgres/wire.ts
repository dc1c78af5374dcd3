// Numbers of the PostgreSQL frontend/backend protocol 3.0 and 3.2 with their names in the manual (chapter "Frontend/Backend
// Protocol", sections "Message Formats" and "Error and Notice Message Fields"; appendix "PostgreSQL Error Codes"). No logic.

/** First word behind the length of a packet that has no type byte: major × 65536 + minor, or 1234 × 65536 + a request. */
export const REQUEST = {
  cancel: 80877102,
  ssl: 80877103,
  gss: 80877104,
} as const

/** The only major version there is; the target negotiates the minor one. */
export const MAJOR_VERSION = 3

/** Length of SSLRequest and GSSENCRequest. */
export const REQUEST_BYTES = 8

/** A CancelRequest up to its secret key: length, code, process id. */
export const CANCEL_HEAD_BYTES = 12
/** Secret key of protocol 3.0; later ones are longer. */
export const CANCEL_KEY_BYTES = 4

/** What pg_hba.conf calls a session of physical replication in the place of its database. */
export const PHYSICAL_REPLICATION = 'replication'

/** Answers to SSLRequest and GSSENCRequest: one byte. */
export const ANSWER = { yes: 0x53, no: 0x4e } as const

/** ALPN name of a client that begins with TLS at once (registered with IANA). */
export const ALPN = 'postgresql'

/** Stages of a handshake, as recognition names them. */
export const STAGE = { ssl: 'ssl', gss: 'gss' } as const

/** Type byte and length of every message behind the start-up. The length counts itself. */
export const HEAD_BYTES = 5
/** The least a length may say. */
export const LENGTH_BYTES = 4

/** Messages of the client ("F" in the manual). */
export const FRONTEND = {
  bind: 0x42, // B
  close: 0x43, // C
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyFail: 0x66, // f
  describe: 0x44, // D
  execute: 0x45, // E
  flush: 0x48, // H
  functionCall: 0x46, // F
  parse: 0x50, // P
  query: 0x51, // Q
  sync: 0x53, // S
  terminate: 0x58, // X
} as const

/**
 * PasswordMessage, SASLInitialResponse, SASLResponse, GSSResponse: 'p'. Only the agent half sends it, so it is not among the
 * messages a client may send.
 */
export const FRONTEND_PASSWORD = 0x70

/** Mechanisms of AuthenticationSASL. */
export const SASL = { scram: 'SCRAM-SHA-256', scramPlus: 'SCRAM-SHA-256-PLUS' } as const

/** Messages of the server ("B" in the manual). */
export const BACKEND = {
  authentication: 0x52, // R
  backendKeyData: 0x4b, // K
  bindComplete: 0x32, // 2
  closeComplete: 0x33, // 3
  commandComplete: 0x43, // C
  copyBothResponse: 0x57, // W
  copyData: 0x64, // d
  copyDone: 0x63, // c
  copyInResponse: 0x47, // G
  copyOutResponse: 0x48, // H
  dataRow: 0x44, // D
  emptyQueryResponse: 0x49, // I
  errorResponse: 0x45, // E
  functionCallResponse: 0x56, // V
  negotiateProtocolVersion: 0x76, // v
  noData: 0x6e, // n
  noticeResponse: 0x4e, // N
  notificationResponse: 0x41, // A
  parameterDescription: 0x74, // t
  parameterStatus: 0x53, // S
  parseComplete: 0x31, // 1
  portalSuspended: 0x73, // s
  readyForQuery: 0x5a, // Z
  rowDescription: 0x54, // T
} as const

/** First word of an Authentication message's body. */
export const AUTHENTICATION = {
  ok: 0,
  kerberosV5: 2,
  cleartextPassword: 3,
  md5Password: 5,
  gss: 7,
  gssContinue: 8,
  sspi: 9,
  sasl: 10,
  saslContinue: 11,
  saslFinal: 12,
} as const

/** Fields of an ErrorResponse. */
export const FIELD = {
  severity: 0x53, // S, may be translated
  severityPlain: 0x56, // V, never translated
  code: 0x43, // C
  message: 0x4d, // M
  detail: 0x44, // D
  hint: 0x48, // H
} as const

/** Byte1 of ReadyForQuery; the others ('T', 'E') mean that a transaction is open. */
export const TRANSACTION = { idle: 0x49 } as const

/** SQLSTATEs of our own refusals. README.md says which is chosen when. */
export const SQLSTATE = {
  protocolViolation: '08P01',
  connectionFailure: '08006',
  invalidAuthorization: '28000',
  insufficientPrivilege: '42501',
  tooManyConnections: '53300',
  adminShutdown: '57P01',
  featureNotSupported: '0A000',
} as const

/** Note codes of the target's messages: type byte plus this, so that Execute and ErrorResponse ('E') differ. */
export const NOTE_TARGET = 0x100
