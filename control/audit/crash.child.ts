// A process that appends to an audit log and says on stdout what was acknowledged, until it is killed. Started by crash.test.ts.

import { writeSync } from 'node:fs'
import { systemClock } from '../../core/clock.ts'
import { openAuditLog } from '../audit.ts'

const [folder = '', run = ''] = process.argv.slice(2)
const log = await openAuditLog({
  folder,
  writer: 'control-1',
  cluster: 'c',
  clock: systemClock,
  // No key here: checkpoints fail, so that opening reads all of the log.
  signer: { sign: () => Promise.reject(new Error('no signer')), keys: () => [] },
})

async function write(writer: number): Promise<never> {
  for (let count = 0; ; count += 1) {
    const user = `${run}-${writer}-${count}`
    await log.emit('user.login', 'T1000I', { user, error: 'x'.repeat(count % 3000) })
    // Written at once: what stands in a buffer of this process dies with it.
    writeSync(1, `${user}\n`)
  }
}

await Promise.all(Array.from({ length: 16 }, (_, writer) => write(writer)))
