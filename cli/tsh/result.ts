// Rows of a query as text: a table as psql aligns it, JSON, or CSV (RFC 4180). Values are the server's text; in a table control
// characters are made visible, since a terminal would obey them.

import type { QueryResult } from '../postgres-client.ts'
import { displayWidth, printable } from '../render.ts'

export const RESULT_FORMATS = ['text', 'json', 'csv'] as const
export type ResultFormat = (typeof RESULT_FORMATS)[number]

export function resultText(result: QueryResult, format: ResultFormat): string {
  if (format === 'json') return jsonText(result)
  if (result.columns.length === 0) return format === 'csv' ? '' : `${result.tag}\n`
  return format === 'csv' ? csvText(result) : alignedText(result)
}

function alignedText({ columns, rows }: QueryResult): string {
  const cells = rows.map((row) => row.map((cell) => printable(cell ?? '')))
  const heads = columns.map(printable)
  const widths = heads.map((head, at) =>
    Math.max(displayWidth(head), ...cells.map((row) => displayWidth(row[at] ?? ''))),
  )
  const numeric = columns.map(
    (_, at) => rows.length > 0 && rows.every((row) => isNumber(row[at] ?? null)),
  )
  const line = (row: readonly string[], right: readonly boolean[]): string =>
    row
      .map((cell, at) => ` ${pad(cell, widths[at] ?? 0, right[at] === true)} `)
      .join('|')
      .trimEnd()
  const rule = widths.map((width) => '-'.repeat(width + 2)).join('+')
  const count = `(${rows.length} ${rows.length === 1 ? 'row' : 'rows'})`
  return `${[line(heads, []), rule, ...cells.map((row) => line(row, numeric)), count].join('\n')}\n`
}

function isNumber(cell: string | null): boolean {
  return cell === null || /^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?$/.test(cell)
}

function pad(text: string, width: number, right: boolean): string {
  const space = ' '.repeat(width - displayWidth(text))
  return right ? space + text : text + space
}

/** Columns of one name would hide each other in an object, so rows stay lists. */
function jsonText({ columns, rows, tag }: QueryResult): string {
  return `${JSON.stringify({ columns, rows, tag })}\n`
}

function csvText({ columns, rows }: QueryResult): string {
  const line = (row: readonly (string | null)[]): string => row.map(csvCell).join(',')
  return `${[columns, ...rows].map(line).join('\r\n')}\r\n`
}

/** NULL is an empty field, the empty string a quoted one, as PostgreSQL's own COPY writes them. */
function csvCell(cell: string | null): string {
  if (cell === null) return ''
  return cell === '' || /[",\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell
}
