// A thousand short sessions leave nothing behind in proxy and agent; leaks.full.test.ts has a hundred thousand, and large copies.

import { it } from 'node:test'

import { LeakRig } from '../fixtures/leaks.ts'

const SESSIONS = 1000
/** Heaps grow over the first fourteen hundred sessions or so, then come and go. */
const WARM_UP = 1400
/** Young generations come and go by this much; a leak of 64 KB per session would show. */
const RSS_GROWTH_MB = 64

it('gives back descriptors, heap and counts after a thousand short sessions', async (context) => {
  const rig = await LeakRig.start(context)
  await rig.check(() => rig.sessions(SESSIONS), {
    rssGrowthMb: RSS_GROWTH_MB,
    warmUp: WARM_UP,
  })
})
