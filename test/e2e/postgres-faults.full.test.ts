// The whole fault matrix of PostgreSQL: every fault × every part of the system × everything a session may be doing, in each mode
// (docs/faults.md). Cells that do not exist are printed with their reasons.

import { before, describe, it } from 'node:test'

import { ROLES } from '../../cli/supervisor/messages.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { absencesOf, cellsOf, titleOf } from '../faults/matrix.ts'
import { type Mode, PostgresFaults } from '../postgres-faults/rig.ts'
import { SCENARIOS } from '../postgres-faults/scenarios.ts'
import { TABLE } from '../postgres-faults/table.ts'

const MODES: readonly Mode[] = ['relay', 'terminate']

for (const { fault, part, reason } of absencesOf(TABLE))
  console.log(`no cell ${fault} × ${part}: ${reason}`)

for (const mode of MODES)
  describe(`Under every fault, a PostgreSQL session in ${mode} mode`, () => {
    const cleanup = suiteCleanup()
    let rig: PostgresFaults

    before(async () => {
      rig = await PostgresFaults.start(cleanup, mode)
    })

    for (const role of ROLES)
      it(`works again when the ${role} had to start on a full disk`, () =>
        rig.restartOnFullDisk(role))

    for (const cell of cellsOf(TABLE, SCENARIOS)) it(titleOf(cell), () => rig.run(cell))
  })
