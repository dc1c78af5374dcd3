// How lists and objects look: a table for people, JSON or YAML for programs. Colours only on a terminal that wants them.

import { styleText } from 'node:util'

export const FORMATS = ['text', 'json', 'yaml'] as const
export type Format = (typeof FORMATS)[number]

/** A text table: header, dashed underline, cells padded; the last column is not padded. */
export function table(headers: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = headers.map((header, at) =>
    Math.max(header.length, ...rows.map((row) => displayWidth(row[at] ?? ''))),
  )
  const line = (cells: readonly string[]): string =>
    cells
      .map((cell, at) =>
        at === cells.length - 1 ? cell : cell + ' '.repeat((widths[at] ?? 0) - displayWidth(cell)),
      )
      .join(' ')
      .trimEnd()
  const underline = widths.map((width) => '-'.repeat(width))
  return `${[line(headers), line(underline), ...rows.map((row) => line(row.map(printable)))].join('\n')}\n`
}

/** `value` as the format asks; `text` renders what people see. YAML is loaded only when asked for. */
export async function render(format: Format, value: unknown, text: () => string): Promise<string> {
  if (format === 'json') return `${JSON.stringify(value, undefined, 2)}\n`
  if (format === 'text') return text()
  const { stringify } = await import('yaml')
  return stringify(value)
}

type Style = 'bold' | 'green' | 'red' | 'yellow' | 'dim'

/** Colours `text` when `stream` is a terminal and neither NO_COLOR nor a dumb terminal speaks against it. */
export function colour(
  style: Style,
  text: string,
  stream: NodeJS.WriteStream = process.stdout,
): string {
  return stream.isTTY && process.env['NO_COLOR'] === undefined && process.env['TERM'] !== 'dumb'
    ? styleText(style, text, { validateStream: false })
    : text
}

/** `k=v,k=v`, sorted, cut with `…` when longer than `length`. */
export function labelsText(
  labels: Readonly<Record<string, string>>,
  length: number = Number.POSITIVE_INFINITY,
): string {
  const text = Object.keys(labels)
    .sort()
    .map((key) => `${key}=${labels[key]}`)
    .join(',')
  return text.length <= length ? text : `${text.slice(0, length - 1)}…`
}

/** `11h53m`, as the reference product prints remaining time; to the nearest minute, so that an hour just begun reads `1h0m`. */
export function durationText(ms: number): string {
  const minutes = Math.round(Math.max(0, ms) / 60_000)
  const days = Math.floor(minutes / 1440)
  const hours = Math.floor((minutes % 1440) / 60)
  if (days > 0) return `${days}d${hours}h`
  return hours > 0 ? `${hours}h${minutes % 60}m` : `${minutes}m`
}

/** `2026-11-20 19:00:00 UTC`. */
export function timeText(ms: number): string {
  return `${new Date(ms).toISOString().slice(0, 19).replace('T', ' ')} UTC`
}

/** Text from elsewhere may hold control sequences; a terminal must not obey them. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, (character) => (character === '\t' ? ' ' : '\u{fffd}'))
}

export function displayWidth(text: string): number {
  return Array.from(text).length
}
