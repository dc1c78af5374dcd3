// Directly or through Sluice, a client hears the same bytes and psql prints the same. For hours by hand:
// `npm run fuzz -- --differential --minutes=60`.

import assert from 'node:assert/strict'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'

import { message } from '../fake/postgres-bytes.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { query } from './client-script.ts'
import { Differential, MODES, type Mode } from './differential.ts'

const BUDGET_MS = 4_000
const SEED = Date.now() % 2 ** 31
const SCRIPTS = join(import.meta.dirname, 'psql')

for (const mode of Object.keys(MODES) as Mode[])
  describe(`A session in ${mode} mode`, () => {
    const cleanup = suiteCleanup()
    let differential: Differential

    before(async () => {
      differential = await Differential.start(cleanup, mode, 15)
    })

    for (const file of readdirSync(SCRIPTS).sort())
      it(`lets psql print the same: ${file}`, async () => {
        const [direct, through] = await differential.psql(join(SCRIPTS, file))
        assert.deepEqual(through, direct)
        assert.ok(direct.stdout.length > 100, direct.stderr)
      })

    it('says the same bytes to any script', async () => {
      const runs = await differential.fuzz(BUDGET_MS, SEED)
      assert.ok(runs > 10, `only ${runs} scripts`)
    })

    it('says the same bytes to messages cut at every byte', async () => {
      const bytes = Buffer.concat([
        query('SELECT 1/0; SELECT 2'),
        message('P', "a\0SELECT 'whole', $1::text\0\0\0"),
        message('B', '\0a\0\0\0\0\x01\0\0\0\x02xy\0\0'),
        message('D', 'P\0'),
        message('E', '\0\0\0\0\0'),
        message('S'),
      ])
      const cuts = Array.from({ length: bytes.length }, (_, at) => at)
      // Two ends in ReadyForQuery: the second is waited for by a query of its own.
      await differential.compare([
        { bytes, cuts },
        { bytes: query('SELECT 3'), cuts: [] },
      ])
    })

    it('would be found out by one byte', async () => {
      const bytes = query('SELECT pg_backend_pid()')
      await assert.rejects(differential.compare([{ bytes, cuts: [3] }]), /bytes differ at/)
    })
  })
