// A launcher as a process of its own, for tests: its first argument says where and for whom. Each line of its input is answered by one
// with what it has open; SIGINT stops it in order.

import { readdirSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { createInterface } from 'node:readline'

import { systemClock } from '../../core/clock.ts'
import { silentLogger } from '../../core/log.ts'
import { Launcher } from './launcher.ts'

const [, , given = ''] = process.argv
const { folder, agentUid } = JSON.parse(given) as { folder: string; agentUid: number }
const file = path.join(folder, 'trust.json')

process.umask(0o077)
const launcher = new Launcher({
  folder: path.join(folder, 'run'),
  agentUid,
  agentGid: agentUid,
  trustFile: { read: () => readText(file), write: (text) => writeFileSync(file, text) },
  clock: systemClock,
  // Kept where a test makes them.
  loginFiles: { utmp: path.join(folder, 'utmp'), wtmp: path.join(folder, 'wtmp') },
  log: {
    ...silentLogger,
    warn: (message, fields) => console.error(message, JSON.stringify(fields)),
    error: (message, fields) => console.error(message, JSON.stringify(fields)),
    debug: (message, fields) => console.error(message, JSON.stringify(fields)),
  },
})
await launcher.start()
const say = (word: string): void => {
  const descriptors = readdirSync('/proc/self/fd').length
  console.log(word, JSON.stringify({ ...launcher.counts, descriptors }))
}
say('ready')
let asked = 0
const lines = createInterface({ input: process.stdin })
lines.on('line', () => say(`counts ${++asked}`))
const stop = (): void => void launcher.close().then(() => process.exit(0))
lines.on('close', stop)
process.once('SIGINT', stop)

function readText(name: string): string | undefined {
  try {
    return readFileSync(name, 'utf8')
  } catch {
    return undefined
  }
}
