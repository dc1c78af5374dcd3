// TLS alerts in clear, for refusals ahead of any handshake (RFC 8446, section 6). There is no room for words in them: who
// holds a good ticket is refused by the agent instead, in the client's own protocol.

/** AlertDescription values (RFC 8446, section 6.2). */
export const ALERTS = {
  accessDenied: 49,
  internalError: 80,
  unrecognizedName: 112,
} as const

const RECORD_ALERT = 21
const LEVEL_FATAL = 2

/** One fatal alert record, 7 bytes. */
export function alert(description: number): Uint8Array {
  return Uint8Array.of(RECORD_ALERT, 3, 3, 0, 2, LEVEL_FATAL, description)
}
