// What the log is told of a statement: which event, which fields. Values only; when it is told is the observer's matter. A
// statement that carries a secret is told without its parameters and without the server's words about it.

import { max } from '../../core/limits.ts'
import type { AuditFields, Observation } from '../../core/protocol.ts'
import { NO_PARAMETERS, type Parameters, type Statement, withoutValues } from './asked.ts'
import type { Portal } from './names.ts'
import { REDACTED } from './redact.ts'

/** What the server made of a message. */
export type Outcome =
  | { readonly kind: 'done'; readonly tags: readonly string[]; readonly rows: number }
  /** An Execute that was given as many rows as it asked for; there may be more. */
  | { readonly kind: 'suspended'; readonly rows: number }
  | {
      readonly kind: 'failed'
      readonly failure: Failure
      readonly tags: readonly string[]
      readonly rows: number
    }
  /** Passed over by the server behind an error. */
  | { readonly kind: 'skipped' }
  /** The session ended first: nobody here knows whether it ran. */
  | { readonly kind: 'unanswered'; readonly tags: readonly string[]; readonly rows: number }

/** From an ErrorResponse. */
export interface Failure {
  readonly sqlstate: string
  readonly message: string
}

interface Timed {
  readonly askedAtMs: number
  readonly atMs: number
}

export function queryTold(statement: Statement, outcome: Outcome, timed: Timed): Observation {
  return told('TDB02I', outcome, timed, statementFields(statement))
}

export function executionTold(portal: Portal, outcome: Outcome, timed: Timed): Observation {
  return told('TPG02I', outcome, timed, portalFields(portal))
}

export function prepareTold(statement: Statement, timed: Timed): Observation {
  const fields = { ...statementFields(statement), ...duration(timed) }
  return { code: 'TPG00I', fields, askedAtMs: timed.askedAtMs }
}

/** A statement that failed before anything ran: its Parse, Bind or Describe. */
export function refusedTold(
  statement: Statement | undefined,
  parameters: Parameters,
  failure: Failure,
  timed: Timed,
): Observation {
  const outcome = { kind: 'failed', failure, tags: [], rows: 0 } as const
  return told('TDB02I', outcome, timed, statementFields(statement, parameters))
}

export function bindTold(portal: Portal): Observation {
  return { code: 'TPG01I', fields: portalFields(portal), askedAtMs: portal.boundAtMs }
}

export function closeTold(
  what: 'statement' | 'portal',
  name: string,
  askedAtMs: number,
): Observation {
  const fields =
    what === 'statement' ? { statement_name: shown(name) } : { portal_name: shown(name) }
  return { code: 'TPG03I', fields, askedAtMs }
}

export function functionTold(
  oid: number,
  parameters: Parameters,
  outcome: Outcome,
  timed: Timed,
): Observation {
  return told('TPG04I', outcome, timed, { function_oid: oid, ...parameterFields(parameters) })
}

/** The end of an implicit transaction can fail, too. */
export function commitFailedTold(failure: Failure, timed: Timed): Observation {
  return told('TDB02I', { kind: 'failed', failure, tags: [], rows: 0 }, timed, {
    db_query: '',
    command: 'SYNC',
  })
}

function told(code: string, outcome: Outcome, timed: Timed, asked: AuditFields): Observation {
  const { askedAtMs } = timed
  switch (outcome.kind) {
    case 'done':
      return { code, fields: { ...asked, ...resultFields(outcome), ...duration(timed) }, askedAtMs }
    case 'suspended': {
      const { rows } = outcome
      return { code, fields: { ...asked, rows, suspended: true, ...duration(timed) }, askedAtMs }
    }
    case 'failed':
      return {
        code: 'TDB02W',
        fields: {
          ...asked,
          ...resultFields(outcome),
          ...failureFields(outcome.failure, asked),
          ...duration(timed),
        },
        askedAtMs,
      }
    case 'skipped': {
      const error = 'not run: a message before it failed'
      return { code: 'TDB02W', fields: { ...asked, skipped: true, error }, askedAtMs }
    }
    case 'unanswered':
      return { code, fields: { ...asked, ...resultFields(outcome), unanswered: true }, askedAtMs }
  }
}

function portalFields({ name, statement, parameters, uncertain }: Portal): AuditFields {
  return {
    ...statementFields(statement, parameters),
    portal_name: name === '' ? undefined : shown(name),
    uncertain: uncertain || undefined,
  }
}

function statementFields(
  statement: Statement | undefined,
  parameters: Parameters = NO_PARAMETERS,
): AuditFields {
  if (statement === undefined)
    return { db_query: '', uncertain: true, ...parameterFields(parameters) }
  const { name, text, cut, secret } = statement
  return {
    db_query: text,
    statement_name: name === '' ? undefined : shown(name),
    db_query_cut: cut || undefined,
    redacted: secret || undefined,
    ...parameterFields(secret ? withoutValues(parameters) : parameters),
  }
}

function parameterFields(parameters: Parameters): AuditFields {
  if (parameters.count === 0) return NO_FIELDS
  const { values, nulls, count, cut } = parameters
  return {
    db_query_parameters: values,
    null_parameters: nulls.length === 0 ? undefined : nulls,
    parameters_count: cut ? count : undefined,
  }
}

const NO_FIELDS: AuditFields = {}

function resultFields({
  tags,
  rows,
}: {
  readonly tags: readonly string[]
  readonly rows: number
}): AuditFields {
  const [first] = tags
  if (first === undefined) return NO_FIELDS
  if (tags.length === 1) return { command: commandOf(first), rows }
  const commands = tags.slice(0, max('pgCommandsMax'))
  return { commands, commands_count: tags.length, rows }
}

function failureFields({ sqlstate, message }: Failure, asked: AuditFields): AuditFields {
  // The server quotes what it did not understand.
  return { error: asked['redacted'] === true ? REDACTED : message, sqlstate }
}

function duration({ askedAtMs, atMs }: Timed): AuditFields {
  return { duration_us: Math.max(0, Math.round((atMs - askedAtMs) * 1000)) }
}

/** `INSERT 0 5` is INSERT, `CREATE TABLE` is itself. */
export function commandOf(tag: string): string {
  const space = tag.indexOf(' ')
  if (space < 0) return tag
  const next = tag.charCodeAt(space + 1)
  return next >= 0x30 && next <= 0x39 ? tag.slice(0, space) : tag.replace(/( \d+)+$/, '')
}

/** Rows of a command tag: its last number; 0 when it has none. */
export function rowsOf(tag: string): number {
  let rows = 0
  let digit = 1
  for (let at = tag.length - 1; at >= 0; at--) {
    const value = tag.charCodeAt(at) - 0x30
    if (value < 0 || value > 9) return tag[at] === ' ' ? Math.min(rows, Number.MAX_SAFE_INTEGER) : 0
    rows += value * digit
    digit *= 10
  }
  return 0
}

/** Names are kept byte for byte; people read them as text. */
function shown(name: string): string {
  return Buffer.from(name, 'latin1').toString('utf8')
}
