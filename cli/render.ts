// How lists and objects look: a table for people, JSON or YAML for programs. Colours only on a terminal that wants them.

import { styleText } from 'node:util'

export { displayWidth, labelsText, printable, table } from '../core/table.ts'

export const FORMATS = ['text', 'json', 'yaml'] as const
export type Format = (typeof FORMATS)[number]

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
