// A process that spools events and says on stdout what was kept, until it is killed. Started by spool.test.ts.

import { writeSync } from 'node:fs'
import { systemClock } from '../core/clock.ts'
import { openSpool } from './spool.ts'

const [folder = '', run = ''] = process.argv.slice(2)
const spool = await openSpool({ folder, id: 'agent-1', cluster: 'c', clock: systemClock })

async function write(writer: number): Promise<never> {
  for (let count = 0; ; count += 1) {
    const user = `${run}-${writer}-${count}`
    const fields = { user, error: 'x'.repeat(20_000) }
    if ((await spool.emit('auth', 'T3007W', fields)) !== 'kept') throw new Error('not kept')
    // Written at once: what stands in a buffer of this process dies with it.
    writeSync(1, `${user}\n`)
  }
}

await Promise.all(Array.from({ length: 8 }, (_, writer) => write(writer)))
