// What the log is told of a statement: which event, which fields. Values only; when it is told is the observer's matter. A
// statement that carries a secret is told without its parameters and without the server's words about it.

import type { Observation } from '../../core/protocol.ts'
import { NO_PARAMETERS, type Parameters, type Statement, withoutValues } from './asked.ts'
import type { Portal } from './names.ts'
import { REDACTED } from './redact.ts'

/** What the server made of a message. */
export type Outcome =
  | ({ readonly kind: 'done' } & Result)
  /** An Execute that was given as many rows as it asked for; there may be more. */
  | { readonly kind: 'suspended'; readonly rows: number }
  | ({ readonly kind: 'failed'; readonly failure: Failure } & Result)
  /** Passed over by the server behind an error. */
  | { readonly kind: 'skipped' }
  /** The session ended first: nobody here knows whether it ran. */
  | ({ readonly kind: 'unanswered' } & Result)

/** What was completed: command tags, and how many when there are more than are kept. */
export interface Result {
  readonly tags: readonly string[]
  readonly commands?: number
  readonly rows: number
}

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
  const fields: Fields = {}
  addStatement(fields, statement, NO_PARAMETERS)
  return told('TDB02I', fields, outcome, timed)
}

export function executionTold(portal: Portal, outcome: Outcome, timed: Timed): Observation {
  return told('TPG02I', portalFields(portal), outcome, timed)
}

export function prepareTold(statement: Statement, timed: Timed): Observation {
  const fields: Fields = {}
  addStatement(fields, statement, NO_PARAMETERS)
  addDuration(fields, timed)
  return { code: 'TPG00I', fields, askedAtMs: timed.askedAtMs }
}

/** A statement that failed before anything ran: its Parse, Bind or Describe. */
export function refusedTold(
  statement: Statement | undefined,
  parameters: Parameters,
  failure: Failure,
  timed: Timed,
): Observation {
  const fields: Fields = {}
  addStatement(fields, statement, parameters)
  return told('TDB02I', fields, { kind: 'failed', failure, tags: [], rows: 0 }, timed)
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
  const fields: Fields = { function_oid: oid }
  addParameters(fields, parameters)
  return told('TPG04I', fields, outcome, timed)
}

/** The end of an implicit transaction can fail, too. */
export function commitFailedTold(failure: Failure, timed: Timed): Observation {
  const fields: Fields = { db_query: '', command: 'SYNC' }
  return told('TDB02I', fields, { kind: 'failed', failure, tags: [], rows: 0 }, timed)
}

/** Filled field by field: an event costs one object. */
type Fields = Record<string, string | number | boolean | readonly string[]>

function told(code: string, fields: Fields, outcome: Outcome, timed: Timed): Observation {
  const { askedAtMs } = timed
  switch (outcome.kind) {
    case 'done':
      addResult(fields, outcome)
      addDuration(fields, timed)
      return { code, fields, askedAtMs }
    case 'suspended':
      fields['rows'] = outcome.rows
      fields['suspended'] = true
      addDuration(fields, timed)
      return { code, fields, askedAtMs }
    case 'failed':
      addResult(fields, outcome)
      // The server quotes what it did not understand.
      fields['error'] = fields['redacted'] === true ? REDACTED : outcome.failure.message
      fields['sqlstate'] = outcome.failure.sqlstate
      addDuration(fields, timed)
      return { code: 'TDB02W', fields, askedAtMs }
    case 'skipped':
      fields['skipped'] = true
      fields['error'] = 'not run: a message before it failed'
      return { code: 'TDB02W', fields, askedAtMs }
    case 'unanswered':
      addResult(fields, outcome)
      fields['unanswered'] = true
      return { code, fields, askedAtMs }
  }
}

function portalFields({ name, statement, parameters, uncertain }: Portal): Fields {
  const fields: Fields = {}
  addStatement(fields, statement, parameters)
  if (name !== '') fields['portal_name'] = shown(name)
  if (uncertain) fields['uncertain'] = true
  return fields
}

function addStatement(
  fields: Fields,
  statement: Statement | undefined,
  parameters: Parameters,
): void {
  fields['db_query'] = statement?.text ?? ''
  if (statement === undefined) fields['uncertain'] = true
  else {
    if (statement.name !== '') fields['statement_name'] = shown(statement.name)
    if (statement.cut) fields['db_query_cut'] = true
    if (statement.secret) fields['redacted'] = true
  }
  addParameters(fields, statement?.secret === true ? withoutValues(parameters) : parameters)
}

function addParameters(fields: Fields, { values, nulls, count, cut }: Parameters): void {
  if (count === 0) return
  fields['db_query_parameters'] = values
  if (nulls.length > 0) fields['null_parameters'] = nulls
  if (cut) fields['parameters_count'] = count
}

function addResult(fields: Fields, { tags, rows, commands = tags.length }: Result): void {
  const [first] = tags
  if (first === undefined) return
  fields['rows'] = rows
  if (commands === 1) fields['command'] = commandOf(first)
  else {
    fields['commands'] = tags
    fields['commands_count'] = commands
  }
}

function addDuration(fields: Fields, { askedAtMs, atMs }: Timed): void {
  fields['duration_us'] = Math.max(0, Math.round((atMs - askedAtMs) * 1000))
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
