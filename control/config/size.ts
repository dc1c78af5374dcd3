// Sizes of sluice.yaml.

/** Bytes of `500GB`. The schema has checked the form. */
export function sizeBytes(text: string): number {
  const units: Readonly<Record<string, number>> = { MB: 2 ** 20, GB: 2 ** 30, TB: 2 ** 40 }
  return Number.parseInt(text, 10) * (units[text.slice(-2)] ?? 0)
}
