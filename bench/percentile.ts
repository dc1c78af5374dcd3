// The value below which so many of a hundred lie (nearest rank).

export function percentile(values: readonly number[], at: number): number {
  const sorted = values.toSorted((a, b) => a - b)
  const rank = Math.ceil((at / 100) * sorted.length) - 1
  return sorted[Math.max(rank, 0)] ?? Number.NaN
}
