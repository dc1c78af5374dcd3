// One cell of PostgreSQL's fault matrix for each kind of fault, on one cluster. The whole matrix is in postgres-faults.full.test.ts.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { cellsOf, FAULTS, type Part, titleOf } from '../faults/matrix.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { PostgresFaults } from '../postgres-faults/rig.ts'
import { type Scenario, SCENARIOS } from '../postgres-faults/scenarios.ts'
import { TABLE } from '../postgres-faults/table.ts'

/** Between them every part that has a network, and everything a session may be doing. */
const CHOSEN: Readonly<Record<(typeof FAULTS)[number], readonly [Part, Scenario]>> = {
  'kill -9': ['proxy', 'COPY out'],
  SIGSTOP: ['control', 'query'],
  cut: ['target', 'COPY in'],
  'half-close towards the client': ['agent', 'query'],
  'half-close towards the target': ['proxy', 'COPY out'],
  'disk full': ['agent', 'COPY in'],
  'clock forward': ['agent', 'idle'],
  'clock back': ['proxy', 'query'],
}

describe('Under a fault of each kind, a PostgreSQL session in relay mode', () => {
  const cleanup = suiteCleanup()
  let rig: PostgresFaults

  before(async () => {
    rig = await PostgresFaults.start(cleanup, 'relay')
  })

  for (const fault of FAULTS) {
    const [part, scenario] = CHOSEN[fault]
    const cell = cellsOf(TABLE, SCENARIOS).find(
      (each) => each.fault === fault && each.part === part && each.scenario === scenario,
    )
    assert.ok(cell !== undefined)
    it(titleOf(cell), () => rig.run(cell))
  }
})
