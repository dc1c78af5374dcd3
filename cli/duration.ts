// Durations and times as options take them: `8h30m`, `90m`, `7d`; RFC 3339 or `2026-11-20`.

import { usage } from './command.ts'

const UNITS_MS: Readonly<Record<string, number>> = {
  d: 86_400_000,
  h: 3_600_000,
  m: 60_000,
  s: 1000,
}

/** Milliseconds of an option's text; undefined when it was not given. */
export function durationOption(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  if (!/^(?:\d{1,6}[dhms])+$/.test(text))
    throw usage(`--${name} is a duration such as 30m, 8h or 7d`)
  let ms = 0
  for (const [, count, unit] of text.matchAll(/(\d+)([dhms])/g))
    ms += Number(count) * (UNITS_MS[unit ?? ''] ?? 0)
  if (ms <= 0) throw usage(`--${name} is longer than nothing`)
  return ms
}

/** A point in time, as milliseconds since the epoch. Without a zone it is UTC. */
export function timeOption(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const form =
    /^\d{4}-\d{2}-\d{2}(?:T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?(?:Z|[+-]\d{2}:\d{2})?)?$/.test(text)
  const zoned = /T.*(?:Z|[+-]\d{2}:\d{2})$/.test(text) || !text.includes('T') ? text : `${text}Z`
  const ms = form ? Date.parse(zoned) : Number.NaN
  if (Number.isNaN(ms)) throw usage(`--${name} is a time such as 2027-01-31T12:00:00Z`)
  return ms
}
