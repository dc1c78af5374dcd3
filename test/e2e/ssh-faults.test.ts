// A recorded terminal under one fault of each kind, at one cluster. The whole table is in ssh-faults.full.test.ts.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { suiteCleanup } from '../fixtures/files.ts'
import { SshFaults } from '../ssh-faults/rig.ts'
import { CELLS, FAULTS, type Rule, titleOf } from '../ssh-faults/table.ts'

/** Between them both rules that need no mode of their own. */
const CHOSEN: Readonly<Record<(typeof FAULTS)[number], Rule>> = {
  'disk full where it is recorded': 'strict',
  'SIGSTOP of control': 'best_effort',
  'kill -9 of control': 'strict',
  'kill -9 of the agent': 'strict',
  'kill -9 of the proxy': 'best_effort',
}

describe('Under a fault of each kind, a terminal that its agent records', () => {
  const cleanup = suiteCleanup()
  let rig: SshFaults

  before(async () => {
    rig = await SshFaults.start(cleanup, { place: 'node', sync: false })
  })

  for (const fault of FAULTS) {
    const cell = CELLS.find(
      (each) => each.place === 'node' && each.fault === fault && each.rule === CHOSEN[fault],
    )
    assert.ok(cell !== undefined)
    it(titleOf(cell), (context) => rig.run(context, cell))
  }
})
