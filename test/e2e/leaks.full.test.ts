// A hundred thousand short sessions and two gigabytes of COPY each way leave no growth in proxy and agent, in every mode. Part of
// `npm run test:full`: it takes minutes.

import { describe, it } from 'node:test'

import { cell } from '../fixtures/cells.ts'
import { LeakRig } from '../fixtures/leaks.ts'
import { MODES } from '../matrix/modes.ts'

const SESSIONS = 100_000
/** Heaps and the allocator's arenas find their size in the first fifteen thousand sessions or so, and keep it. */
const WARM_UP = 15_000
/** Young generations come and go by this much; a leak of 900 bytes per session would show. */
const RSS_GROWTH_MB = 64
/** Two gigabytes: rows of a thousand characters and a number. */
const ROWS = 2_130_000
/** What may be held of a stream at any time, besides what young generations come to. */
const PEAK_MB = 128

/** Some twenty minutes on two idle cores; a busy machine takes a multiple of it. */
const LONG_MS = 120 * 60_000

for (const mode of MODES)
  describe(`growth in ${mode} mode`, () => {
    const place = { matrix: 'growth', column: mode }

    const title = `gives back descriptors, memory and counts after ${SESSIONS} short sessions`
    it(title, { timeout: LONG_MS }, async (t) => {
      const rig = await LeakRig.start(t, mode)
      await cell(t, { ...place, row: `${SESSIONS} short sessions` }, async () => {
        await rig.check(() => rig.steadySessions(SESSIONS, RSS_GROWTH_MB), { warmUp: WARM_UP })
      })
    })

    it('holds little of two gigabytes that are copied, and nothing afterwards', async (t) => {
      const rig = await LeakRig.start(t, mode)
      for (const [row, copy] of [
        ['COPY of 2 GB out', () => rig.copyOut(ROWS)],
        ['COPY of 2 GB in', () => rig.copyIn(ROWS)],
      ] as const)
        await cell(t, { ...place, row }, async () => {
          await rig.check(copy, { rssGrowthMb: RSS_GROWTH_MB, peakMb: PEAK_MB })
        })
    })
  })
