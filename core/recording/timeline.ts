// The timeline of a database session, and the interface of whoever records it: statements with parameters, rows, time and error,
// between a start and an end. Types, and the one translation from what a protocol's observer tells. It writes nothing.

import type { Observation } from '../protocol.ts'

/** Times are wall clock. */
export type TimelineEntry =
  | {
      readonly kind: 'start'
      readonly atMs: number
      readonly fields: Readonly<Record<string, unknown>>
    }
  | {
      readonly kind: 'statement'
      readonly atMs: number
      /** Row of the audit catalogue: which kind of statement. */
      readonly code: string
      readonly statement: string
      readonly parameters: readonly string[]
      readonly rows?: number
      readonly durationUs?: number
      readonly error?: string
    }
  | { readonly kind: 'end'; readonly atMs: number; readonly reason: string }

/** Records one session. Bounded: a full one is told nothing until it is ready, but for what was heard already. */
export interface Recorder {
  add(entry: TimelineEntry): void
  readonly full: boolean
  /** Resolves when it is not full any more. */
  ready(): Promise<void>
  /** Nothing follows; resolves when all of it is where it belongs. */
  seal(): Promise<void>
}

type Filled = { -readonly [K in keyof StatementEntry]: StatementEntry[K] }
type StatementEntry = Extract<TimelineEntry, { kind: 'statement' }>

const NONE: readonly string[] = []

export function entryOf({ code, fields }: Observation, atMs: number): TimelineEntry {
  const { db_query: text, db_query_parameters: parameters, rows, duration_us: took, error } = fields
  const entry: Filled = {
    kind: 'statement',
    atMs,
    code,
    statement: typeof text === 'string' ? text : '',
    parameters: typeof parameters === 'object' ? parameters : NONE,
  }
  // One by one: there is one of these for each statement.
  if (typeof rows === 'number') entry.rows = rows
  if (typeof took === 'number') entry.durationUs = took
  if (typeof error === 'string') entry.error = error
  return entry
}
