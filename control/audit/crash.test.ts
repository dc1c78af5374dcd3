// kill -9 in the middle of writes loses no record that was acknowledged.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readLine } from '../../core/audit/chain.ts'
import { newLogFolder } from './log.fixture.ts'

it('a log killed in the middle of its writes holds every record it acknowledged, and verifies', async () => {
  const fixture = await newLogFolder()
  const acknowledged: string[] = []
  for (const run of ['first', 'second', 'third']) {
    acknowledged.push(...(await writeUntilKilled(fixture.folder, run, 400)))
  }
  const log = await fixture.open()
  const parts: Uint8Array[] = []
  for await (const part of log.export()) parts.push(part)
  const lines = Buffer.concat(parts).toString().split('\n')
  const held = new Set(lines.map((line) => readLine(line)?.event['user']))
  assert.deepEqual(
    acknowledged.filter((user) => !held.has(user)),
    [],
  )
  assert.equal((await log.verify()).problem, undefined)
})

async function writeUntilKilled(folder: string, run: string, until: number): Promise<string[]> {
  const script = fileURLToPath(new URL('./crash.child.ts', import.meta.url))
  const child = spawn(process.execPath, [script, folder, run], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  const acknowledged: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(line)
    if (acknowledged.length === until) child.kill('SIGKILL')
  }
  assert.deepEqual(await ended, [null, 'SIGKILL'])
  return acknowledged
}
