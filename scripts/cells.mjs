// The tables of what the test matrices covered, printed at the end of a run. A test that is a cell says so in a diagnostic line,
// `cell ["<matrix>","<column>","<row>","<result>"]` (test/fixtures/cells.ts); what ran nowhere is shown as a gap, not left out.

const CELL = /^cell (\["[^]*\])$/
const RESULT_CHARS_MAX = 60

/** Lines to print, from all diagnostics of a run; none when no test was a cell. */
export function cellTables(diagnostics) {
  const tables = new Map()
  for (const line of diagnostics) {
    const [, words] = CELL.exec(line) ?? []
    if (words === undefined) continue
    const [name, column, row, result] = JSON.parse(words)
    const table = tables.get(name) ?? { columns: new Set(), rows: new Map() }
    tables.set(name, table)
    table.columns.add(column)
    table.rows.set(row, (table.rows.get(row) ?? new Map()).set(column, result))
  }
  return [...tables].flatMap(([name, table]) => drawn(name, table))
}

function drawn(name, { columns, rows }) {
  const heads = [...columns]
  // Columns have long names: they are numbered, and the numbers are explained above the table. So are results that are no word.
  const notes = []
  const lines = [...rows].map(([row, cells]) => {
    const results = heads.map((head) => short(cells.get(head) ?? '-', notes))
    return [row, ...results]
  })
  const wide = Math.max(...lines.map(([row]) => row.length))
  const across = Math.max(6, ...lines.flatMap(([, ...results]) => results.map((r) => r.length)))
  return [
    `\n${name}:`,
    ...heads.map((head, at) => `  ${at + 1} = ${head}`),
    `  ${''.padEnd(wide)} ${heads.map((_, at) => String(at + 1).padStart(across)).join(' ')}`,
    ...lines.map(
      ([row, ...results]) =>
        `  ${row.padEnd(wide)} ${results.map((each) => each.padStart(across)).join(' ')}`,
    ),
    ...notes.map((note, at) => `  [${at + 1}] ${note}`),
  ]
}

/** `ok`, `FAILED`, `1.2 s` as they are; a sentence becomes a footnote. */
function short(result, notes) {
  if (result.length <= 8) return result
  const note = result.slice(0, 3 * RESULT_CHARS_MAX)
  if (!notes.includes(note)) notes.push(note)
  return `[${notes.indexOf(note) + 1}]`
}
