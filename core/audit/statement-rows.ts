// The rows of the catalogue for statements of databases; catalogue.ts takes them in. What their fields mean for PostgreSQL stands
// in protocols/postgres/README.md. Agents emit them in relay mode, proxies in terminate mode.

import type { SystemRole } from '../identity.ts'

interface StatementRow {
  readonly name: string
  readonly meaning: string
  readonly fields: readonly string[]
  readonly by: readonly SystemRole[]
}

const EDGE: readonly SystemRole[] = ['agent', 'proxy']

/** What was asked. `uncertain`: SQL may have changed what the name stood for. */
const STATEMENT = [
  'db_query',
  'db_query_cut',
  'db_query_parameters',
  'null_parameters',
  'parameters_count',
  'statement_name',
  'redacted',
  'uncertain',
] as const
/** What came of it. `unanswered`: the session ended first. */
const RESULT = [
  'command',
  'commands',
  'commands_count',
  'rows',
  'duration_us',
  'unanswered',
] as const

/** By code. `session`: the fields that every event of a session has. */
export function statementRows(session: readonly string[]): Readonly<Record<string, StatementRow>> {
  const row = (name: string, meaning: string, own: readonly string[]): StatementRow => ({
    by: EDGE,
    name,
    meaning,
    fields: [...session, ...own],
  })
  const postgres = 'db.session.postgres'
  return {
    TDB02I: row('db.session.query', 'A query ran in a database, or was sent to it.', [
      ...STATEMENT,
      ...RESULT,
    ]),
    TDB02W: row(
      'db.session.query.failed',
      'A statement failed in the database or was passed over by it.',
      [...STATEMENT, ...RESULT, 'portal_name', 'function_oid', 'error', 'sqlstate', 'skipped'],
    ),
    TPG00I: row(`${postgres}.statements.parse`, 'A named statement was prepared.', [
      ...STATEMENT,
      'duration_us',
    ]),
    TPG01I: row(`${postgres}.statements.bind`, 'A statement was bound and never executed.', [
      ...STATEMENT,
      'portal_name',
    ]),
    TPG02I: row(`${postgres}.statements.execute`, 'A prepared statement ran, or was sent to run.', [
      ...STATEMENT,
      ...RESULT,
      'portal_name',
      'suspended',
    ]),
    TPG03I: row(`${postgres}.statements.close`, 'A named statement or portal was closed.', [
      'statement_name',
      'portal_name',
    ]),
    TPG04I: row(`${postgres}.function`, 'A function was called by its number.', [
      ...STATEMENT,
      'function_oid',
      ...RESULT,
    ]),
    TDB06I: row(
      'db.session.malformed_packet',
      'A client or a database sent what the protocol does not allow there.',
      ['payload'],
    ),
  }
}
