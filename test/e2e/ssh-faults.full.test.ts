// Every cell of the table of recorded terminals under faults: four modes of the cluster, one after the other.

import { before, describe, it } from 'node:test'

import { cell as ofMatrix } from '../fixtures/cells.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { SshFaults } from '../ssh-faults/rig.ts'
import { CELLS, PLACES, titleOf } from '../ssh-faults/table.ts'

for (const place of PLACES)
  for (const sync of [false, true])
    describe(`A recorded terminal under faults, in the mode ${place}${sync ? '-sync' : ''}`, () => {
      const cleanup = suiteCleanup()
      let rig: SshFaults

      before(async () => {
        rig = await SshFaults.start(cleanup, { place, sync })
      })

      for (const cell of CELLS) {
        if (cell.place !== place || (cell.rule === 'sync') !== sync) continue
        const where = {
          matrix: 'SSH recordings under faults',
          column: `${place}, ${cell.rule}`,
          row: cell.fault,
        }
        it(titleOf(cell), (context) => ofMatrix(context, where, () => rig.run(context, cell)))
      }
    })
