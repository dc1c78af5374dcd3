// Durations as the reference product writes them: `8h30m`, `30h0m0s`, `1.5h`, `500ms`, `0`. Milliseconds inside.

const UNITS_MS: Readonly<Record<string, number>> = {
  h: 3_600_000,
  m: 60_000,
  s: 1000,
  ms: 1,
}
const WHOLE = /^(?:\d{1,9}(?:\.\d{1,3})?(?:ms|h|m|s))+$/
const PART = /(\d+(?:\.\d+)?)(ms|h|m|s)/g
/** Ten years: beyond it a typing error is likelier than a wish. */
const DURATION_MAX_MS = 10 * 365 * 24 * 3_600_000

/** Milliseconds, or undefined when the text is no duration. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0
  if (!WHOLE.test(text)) return undefined
  let ms = 0
  for (const [, number, unit] of text.matchAll(PART))
    ms += Number(number) * (UNITS_MS[unit ?? ''] ?? Number.NaN)
  const rounded = Math.round(ms)
  return rounded <= DURATION_MAX_MS ? rounded : undefined
}

/** The shortest such text: `8h30m`, `90s` becomes `1m30s`. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0s'
  let left = ms
  let out = ''
  for (const unit of ['h', 'm', 's', 'ms']) {
    const unitMs = UNITS_MS[unit] ?? 1
    const count = Math.floor(left / unitMs)
    if (count > 0) out += `${String(count)}${unit}`
    left -= count * unitMs
  }
  return out
}
