// A process that writes to a store and says on stdout what was acknowledged, until it is killed. Started by crash.test.ts.

import { writeSync } from 'node:fs'
import { systemClock } from '../../core/clock.ts'
import { openSqliteStore } from './sqlite.ts'

const [file = '', run = '0'] = process.argv.slice(2)
const store = await openSqliteStore({ file, clock: systemClock })

async function write(writer: number): Promise<never> {
  for (let count = 0; ; count += 1) {
    const value = JSON.stringify({ writer, count, pad: 'x'.repeat(500) })
    const [revision = 0] = await store.batch([
      { op: 'put', key: `writer/${writer}`, value },
      { op: 'create', key: `log/${run}-${writer}-${count}`, value },
    ])
    // Written at once: what stands in a buffer of this process dies with it.
    writeSync(1, `${JSON.stringify({ writer, count, revision })}\n`)
  }
}

await Promise.all(Array.from({ length: 16 }, (_, writer) => write(writer)))
