// Text tables as people see them, wherever they are printed: by our commands and by a proxy that somebody reached with their own `ssh`.
// What stands in the cells may come from strangers, and no terminal obeys it.

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

/** Text from elsewhere may hold control sequences; a terminal must not obey them. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, (character) => (character === '\t' ? ' ' : '\u{fffd}'))
}

export function displayWidth(text: string): number {
  return Array.from(text).length
}
