// Reads the log for people: newest first, filtered, page by page. There is no index: a query costs the bytes it reads, at most
// auditScanBytesMax per call (a page may then come back short, with its cursor). Days before the time asked for are not opened.

import { type ChainRecord, readLine, recordObject } from '../../core/audit/chain.ts'
import type { Canonical } from '../../core/cert/canonical.ts'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { firstDayOf, type LogFile, readLines, readLinesBackwards } from './files.ts'

export interface AuditQuery {
  readonly fromMs?: number
  readonly toMs?: number
  /** Event names (`user.login`) or codes (`T1000I`). */
  readonly types?: readonly string[]
  readonly limit?: number
  /** `next` of the page before. */
  readonly cursor?: string
  readonly decisionId?: string
  readonly user?: string
  /** Of one session. */
  readonly sid?: string
}

export interface AuditPage {
  /** Records as objects, newest first. */
  readonly items: readonly Readonly<Record<string, Canonical>>[]
  readonly next?: string
}

export async function queryLog(
  files: readonly LogFile[],
  durableBytes: (file: LogFile) => number,
  query: AuditQuery,
): Promise<AuditPage> {
  const limit = Math.min(query.limit ?? max('apiPageMax'), max('apiPageMax'))
  const before = readCursor(query.cursor)
  const firstDay = query.fromMs === undefined ? '' : firstDayOf(query.fromMs)
  const needle = needleOf(query)
  const items: Readonly<Record<string, Canonical>>[] = []
  let scanned = 0
  for (const file of files.toReversed()) {
    if (file.day < firstDay) break
    if (before !== undefined && (await firstSeq(file, durableBytes(file))) >= before) continue
    for await (const line of readLinesBackwards(file.path, durableBytes(file))) {
      const seq = seqOf(line)
      scanned += line.length
      if (seq === undefined || (before !== undefined && seq >= before)) continue
      // Most lines are passed over without being parsed: a look for one decision reads far back.
      const record = needle === undefined || line.includes(needle) ? readLine(line) : undefined
      if (record !== undefined && matches(record, query)) items.push(recordObject(record))
      const full = items.length >= limit || scanned > max('auditScanBytesMax')
      if (full) return seq > 1 ? { items, next: String(seq) } : { items }
    }
  }
  return { items }
}

/** Text that every line asked for holds, as it is written there. */
function needleOf(query: AuditQuery): string | undefined {
  if (query.decisionId !== undefined) return `"decision_id":${JSON.stringify(query.decisionId)}`
  if (query.sid !== undefined) return `"sid":${JSON.stringify(query.sid)}`
  return query.user === undefined ? undefined : `"user":${JSON.stringify(query.user)}`
}

/** A record's number from the beginning of its line. */
function seqOf(line: string): number | undefined {
  const digits = /^\{"seq":(\d{1,16}),/.exec(line)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/** The number of the file's first record, so that a cursor skips whole files. */
async function firstSeq(file: LogFile, until: number): Promise<number> {
  for await (const { text } of readLines(file.path, 0, until)) {
    return readLine(text ?? '')?.seq ?? 0
  }
  return 0
}

function matches({ event }: ChainRecord, query: AuditQuery): boolean {
  if (query.types !== undefined && query.types.length > 0) {
    if (!query.types.includes(event.event) && !query.types.includes(event.code)) return false
  }
  if (query.decisionId !== undefined && event['decision_id'] !== query.decisionId) return false
  if (query.user !== undefined && event['user'] !== query.user) return false
  if (query.sid !== undefined && event['sid'] !== query.sid) return false
  if (query.fromMs === undefined && query.toMs === undefined) return true
  const timeMs = Date.parse(event.time)
  return timeMs >= (query.fromMs ?? 0) && timeMs <= (query.toMs ?? Number.POSITIVE_INFINITY)
}

function readCursor(cursor: string | undefined): number | undefined {
  if (cursor === undefined) return undefined
  const seq = /^[1-9]\d{0,15}$/.test(cursor) ? Number(cursor) : Number.NaN
  if (Number.isSafeInteger(seq)) return seq
  throw new ProxyError('resource.invalid', 'The cursor is not one of this log.', { side: 'client' })
}
