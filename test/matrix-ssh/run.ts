// Runs cells at seats: a test per cell, in the order given. Who provides a seat starts what it needs under the suite's cleanup.

import { ok } from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { cell } from '../fixtures/cells.ts'
import { type Cleanup, suiteCleanup } from '../fixtures/files.ts'
import { type Cell, Seat, type SeatParts } from './seat.ts'

export interface Place {
  /** The suite's name; the column of the table is the seat's own. */
  readonly name: string
  readonly open: (cleanup: Cleanup) => Promise<SeatParts>
}

export function runSshMatrix(
  matrix: string,
  places: readonly Place[],
  cells: readonly Cell[],
): void {
  for (const { name, open } of places)
    describe(name, () => {
      const cleanup = suiteCleanup()
      let seat: Seat | undefined
      before(async () => {
        seat = new Seat(await open(cleanup))
      })
      for (const { row, lacks, run } of cells)
        it(row, async (context) => {
          ok(seat, 'the seat was not provided')
          const at = seat
          await cell(context, { matrix, column: at.column, row }, async () => {
            const reason = lacks?.(at)
            if (reason === undefined) await run(at, context)
            return reason
          })
        })
    })
}
