// kill -9 in the middle of writes loses no change that was acknowledged.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { it } from 'node:test'
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../core/clock.ts'
import { openSqliteStore } from './sqlite.ts'

interface Acknowledged {
  readonly writer: number
  readonly count: number
  readonly revision: number
}

it('a store killed in the middle of its writes holds everything it acknowledged, batches whole', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-crash-'))
  const file = join(folder, 'state.db')
  let revision = 0
  for (const run of [1, 2, 3]) {
    const acknowledged = await writeUntilKilled(file, run, 300 * run)
    const store = await openSqliteStore({ file, clock: systemClock })
    for (const { writer, count } of acknowledged) {
      const item = await store.get(`log/${run}-${writer}-${count}`)
      assert.ok(item !== undefined, `acknowledged write ${writer}/${count} is lost`)
    }
    // The other half of each batch: a writer's own key stands at or behind the last acknowledged count, and its log with it.
    for (const { key, value } of (await store.range({ prefix: 'writer/' })).items) {
      const { writer, count } = JSON.parse(value) as Acknowledged
      assert.ok((await store.get(`log/${run}-${writer}-${count}`)) !== undefined, key)
    }
    const highest = Math.max(...acknowledged.map((entry) => entry.revision))
    assert.ok(highest > revision)
    revision = (await store.range({ prefix: '', limit: 1 })).revision
    assert.ok(revision >= highest)
    await store.close()
  }
  await rm(folder, { recursive: true })
})

async function writeUntilKilled(file: string, run: number, until: number): Promise<Acknowledged[]> {
  const script = fileURLToPath(new URL('./crash.child.ts', import.meta.url))
  const child = spawn(process.execPath, [script, file, String(run)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  const acknowledged: Acknowledged[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    acknowledged.push(JSON.parse(line) as Acknowledged)
    if (acknowledged.length === until) child.kill('SIGKILL')
  }
  assert.deepEqual(await ended, [null, 'SIGKILL'])
  return acknowledged
}
