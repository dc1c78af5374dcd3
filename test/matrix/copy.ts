// A million rows in and out, as text and in binary: the bytes of a file are those that come back. Ordered, because a server keeps rows
// in the order it likes.

import { equal, match } from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'

import { alike, type Cell, type Seat, type Way } from './seat.ts'

/** Rows of the whole matrix, and of a machine that only wants to know whether it works. */
const ROWS = 1_000_000
const ROWS_FEW = 20_000
const ORDERED = '(SELECT * FROM copied ORDER BY id)'

export function copyCell(rows: number): Cell {
  return {
    row: `\\copy of ${rows.toLocaleString('en')} rows both ways`,
    async run(seat) {
      const file = join(seat.folder, 'rows')
      const written = await writeRows(file, rows)
      const sums = await alike(seat, async (way) => await thereAndBack(seat, way, file))
      equal(sums.text, written)
      match(sums.binary, /^[0-9a-f]{64}$/)
    },
  }
}

export const COPY: Cell = copyCell(ROWS)
export const COPY_FEW: Cell = copyCell(ROWS_FEW)

async function thereAndBack(
  seat: Seat,
  way: Way,
  file: string,
): Promise<{ text: string; binary: string }> {
  const back = join(seat.folder, 'back')
  await copy(way, `CREATE TABLE copied (id int, body text, at timestamptz)`)
  await copy(way, `\\copy copied FROM '${file}'`)
  await copy(way, `\\copy ${ORDERED} TO '${back}'`)
  const text = await sum(way, back)
  await copy(way, `\\copy ${ORDERED} TO '${back}' WITH (FORMAT binary)`)
  const binary = await sum(way, back)
  await copy(way, 'TRUNCATE copied')
  await copy(way, `\\copy copied FROM '${back}' WITH (FORMAT binary)`)
  await copy(way, `\\copy ${ORDERED} TO '${back}'`)
  equal(await sum(way, back), text, 'binary is not what text was')
  await copy(way, 'DROP TABLE copied')
  return { text, binary }
}

async function copy(way: Way, command: string): Promise<void> {
  const { code, stderr } = await way.psql(['-q', '-c', command], {}, { env: { PGTZ: 'UTC' } })
  equal(code, 0, stderr)
}

async function sum(way: Way, file: string): Promise<string> {
  return (await way.run('/usr/bin/sha256sum', [file])).stdout.split(' ')[0] ?? ''
}

/** Rows of unlike lengths, and returns their hash. */
async function writeRows(file: string, rows: number): Promise<string> {
  const out = createWriteStream(file)
  const hash = createHash('sha256')
  for (let row = 0; row < rows; ) {
    const lines: string[] = []
    for (const end = Math.min(row + 1000, rows); row < end; row++)
      lines.push(`${row}\t${'é'.repeat(row % 40)} row ${row}\t2026-01-01 00:00:00+00\n`)
    const chunk = lines.join('')
    hash.update(chunk)
    if (!out.write(chunk)) await once(out, 'drain')
  }
  out.end()
  await once(out, 'finish')
  return hash.digest('hex')
}
