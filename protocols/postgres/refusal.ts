// How Sluice says no in PostgreSQL's words: the one message it writes, ErrorResponse with severity FATAL. Which SQLSTATE is
// chosen when stands in README.md. Text that may quote a stranger is cut and loses control characters; it never fails.

import { Writer } from '../../core/bytes/writer.ts'
import { max } from '../../core/limits.ts'
import type { Refusal } from '../../core/protocol.ts'
import { BACKEND, FIELD, SQLSTATE } from './wire.ts'

/** What a client is shown. */
export interface Fatal {
  readonly code: string
  readonly message: string
  readonly detail?: string
  readonly hint?: string
}

/** Shown with every refusal: people look for the cause in the database first. */
const NOT_POSTGRES = 'This was decided by Sluice, not by PostgreSQL.'

/** A refusal before the session runs. */
export function denied(refusal: Refusal): Fatal {
  return {
    code: codeOf(refusal.kind),
    message: `${deniedBy(refusal)}: ${refusal.reason}`,
    detail: NOT_POSTGRES,
    hint: refusal.next,
  }
}

/**
 * The end of a running session. Always admin_shutdown: drivers and their pools know it as "this connection is gone", and the
 * next attempt is told the reason with its own code.
 */
export function evicted(refusal: Refusal): Fatal {
  const by = refusal.kind === 'unavailable' ? 'Sluice' : 'Sluice policy'
  return {
    code: SQLSTATE.adminShutdown,
    message: `session ended by ${by}${decision(refusal)}: ${refusal.reason}`,
    detail: NOT_POSTGRES,
    hint: refusal.next,
  }
}

/** The target could not be reached or would not let us in. */
export function unreachable(message: string): Fatal {
  return {
    code: SQLSTATE.connectionFailure,
    message: `Sluice could not log in to the database: ${message}`,
    detail: 'The session was allowed; the connection from the agent to the database failed.',
  }
}

/** Bytes that the protocol does not allow at this point, or that we do not carry. */
export function violation(reason: string, code: string = SQLSTATE.protocolViolation): Fatal {
  return { code, message: `refused by Sluice: ${reason}`, detail: NOT_POSTGRES }
}

/** ErrorResponse: Byte1('E'), Int32 length, fields of Byte1 and String, a zero byte. */
export function errorResponse(fatal: Fatal): Uint8Array {
  // Every field is at most four bytes a character; the rest is fixed and small.
  const writer = new Writer(4 * 4 * max('pgErrorTextMax'))
  writer.u8(BACKEND.errorResponse).u32(0)
  const field = (code: number, text: string | undefined): void => {
    if (text !== undefined && text !== '') writer.u8(code).cstring(shown(text))
  }
  field(FIELD.severity, 'FATAL')
  field(FIELD.severityPlain, 'FATAL')
  field(FIELD.code, fatal.code)
  field(FIELD.message, fatal.message)
  field(FIELD.detail, fatal.detail)
  field(FIELD.hint, fatal.hint)
  return writer.u8(0).lengthAt(1).done()
}

function codeOf(kind: Refusal['kind']): string {
  switch (kind) {
    case 'policy':
      return SQLSTATE.insufficientPrivilege
    case 'limit':
      return SQLSTATE.tooManyConnections
    case 'unavailable':
      return SQLSTATE.connectionFailure
    case 'identity':
    case 'lock':
    case 'expired':
      return SQLSTATE.invalidAuthorization
  }
}

function deniedBy(refusal: Refusal): string {
  const what =
    refusal.kind === 'unavailable'
      ? 'Sluice cannot serve this session'
      : 'access denied by Sluice policy'
  return `${what}${decision(refusal)}`
}

function decision(refusal: Refusal): string {
  return refusal.decisionId === '' ? '' : `, decision ${refusal.decisionId}`
}

/** Reasons may quote names that a stranger chose, and end on somebody's terminal. */
function shown(text: string): string {
  const plain = text.replaceAll(/\p{C}/gu, '?')
  return plain.length <= max('pgErrorTextMax')
    ? plain
    : `${plain.slice(0, max('pgErrorTextMax') - 1)}…`
}
