// Five thousand short sessions leave no growth (the order's sixth condition). Part of `npm run test:full`: it takes minutes.

import { it } from 'node:test'

import { LeakRig } from '../fixtures/leaks.ts'

const SESSIONS = 5000
/** Young generations come and go by this much; a leak of 13 KB per session would show. */
const RSS_GROWTH_MB = 64

it('gives back descriptors, heap and counts after five thousand short sessions', async (context) => {
  const rig = await LeakRig.start(context)
  await rig.check(SESSIONS, RSS_GROWTH_MB)
})
