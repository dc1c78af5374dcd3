// The spool on a real folder, with a control in memory: order, bounds, restarts, rolled-back disks.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { appendFile, cp, mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, describe, it } from 'node:test'
import { fileURLToPath } from 'node:url'
import {
  type ChainPosition,
  follows,
  genesis,
  isIntact,
  positionOf,
  readLine,
} from '../core/audit/chain.ts'
import { FakeClock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { openSpool, type Spool, type Upload } from './spool.ts'

const folders: string[] = []
const spools: Spool[] = []
after(async () => {
  // One by one: some of them stand for processes that were killed and left their folder to the next.
  for (const spool of spools) await spool.close()
  await Promise.all(folders.map((folder) => rm(folder, { recursive: true })))
})

async function newFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-spool-'))
  folders.push(folder)
  return folder
}

const clock = new FakeClock()

async function open(folder: string, bytesMax?: number): Promise<Spool> {
  const bound = bytesMax === undefined ? {} : { bytesMax }
  const spool = await openSpool({ folder, id: 'agent-1', cluster: 'c', clock, ...bound })
  spools.push(spool)
  return spool
}

function emit(spool: Spool, user: string, rule?: 'strict' | 'best_effort'): Promise<string> {
  return spool.emit('auth', 'T3007W', { user }, rule)
}

async function emitMany(spool: Spool, count: number, word = 'u'): Promise<void> {
  const all = Array.from({ length: count }, (_, index) => emit(spool, `${word}${index}`))
  assert.ok((await Promise.all(all)).every((emitted) => emitted === 'kept'))
}

/** Control's side: takes what follows what it has, as its intake does. */
class FakeControl {
  readonly records: Readonly<Record<string, unknown>>[] = []
  readonly batches: number[] = []
  position: ChainPosition | undefined
  /** Called before each batch is taken. */
  before: () => void | Promise<void> = () => {}

  readonly upload: Upload = async (lines, count) => {
    await this.before()
    this.batches.push(count)
    for (const line of Buffer.from(lines).toString().split('\n')) this.#take(line)
    return this.position?.seq ?? 0
  }

  get users(): unknown[] {
    return this.records.filter((item) => 'user' in item).map((item) => item['user'])
  }

  #take(line: string): void {
    const record = readLine(line)
    assert.ok(record !== undefined && isIntact(record))
    const known = this.position?.writer === record.writer ? this.position : genesis(record.writer)
    if (record.seq < known.seq) return
    if (record.seq === known.seq && record.hash === known.hash) return
    if (!follows(known, record)) throw new ProxyError('audit.chain-broken', 'forked')
    this.position = positionOf(record)
    this.records.push(record.event)
  }
}

describe('the spool', () => {
  it('keeps events in order until control acknowledged them, with this host as their server', async () => {
    const spool = await open(await newFolder())
    const many = 2 * max('auditBatchMax') + 200
    await emitMany(spool, many)
    assert.equal(spool.pending, many)
    const control = new FakeControl()
    await spool.drain(control.upload)
    assert.equal(spool.pending, 0)
    assert.deepEqual(control.batches, [max('auditBatchMax'), max('auditBatchMax'), 200])
    assert.equal(control.users[many - 1], `u${many - 1}`)
    assert.ok(control.records.every((item) => item['server_id'] === 'agent-1'))
    await spool.drain(control.upload)
    assert.equal(control.batches.length, 3)
  })

  it('keeps an upload within what control takes as a body', async () => {
    const spool = await open(await newFolder())
    const error = 'x'.repeat(60_000)
    for (let index = 0; index < 30; index += 1) await spool.emit('auth', 'T3007W', { error })
    const control = new FakeControl()
    await spool.drain((lines, count) => {
      assert.ok(lines.length <= max('apiBodyBytesMax'))
      return control.upload(lines, count)
    })
    assert.equal(control.records.length, 30)
    assert.ok(control.batches.length > 1)
  })

  it('goes on behind the record that control stopped at', async () => {
    const spool = await open(await newFolder())
    await emitMany(spool, 10)
    const control = new FakeControl()
    const firsts: number[] = []
    await spool.drain(async (lines, count) => {
      const [first = ''] = Buffer.from(lines).toString().split('\n')
      firsts.push(readLine(first)?.seq ?? 0)
      const reached = await control.upload(lines, count)
      return firsts.length === 1 ? 4 : reached
    })
    assert.deepEqual(firsts, [1, 5])
    assert.equal(spool.pending, 0)
  })

  it('sends again what was not acknowledged, over failures and restarts', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    await emitMany(spool, max('auditBatchMax') + 100)
    const control = new FakeControl()
    control.before = () => {
      if (control.batches.length === 1) throw new ProxyError('control.unavailable', 'away')
    }
    await assert.rejects(spool.drain(control.upload), { code: 'control.unavailable' })
    assert.equal(spool.pending, 100)
    await emitMany(spool, 10, 'later')
    await spool.close()
    control.before = () => {}
    const again = await open(folder)
    assert.equal(again.pending, 110)
    await again.drain(control.upload)
    await emitMany(again, 1, 'last')
    await again.drain(control.upload)
    assert.equal(control.records.length, max('auditBatchMax') + 111)
    assert.equal(control.position?.seq, max('auditBatchMax') + 111)
    await again.close()
    const third = await open(folder)
    assert.equal(third.pending, 0)
  })

  it('goes on when the answer to an upload was lost', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    await emitMany(spool, 20)
    const control = new FakeControl()
    const lossy: Upload = async (lines, count) => {
      await control.upload(lines, count)
      throw new Error('cut off')
    }
    await assert.rejects(spool.drain(lossy), /cut off/)
    await emitMany(spool, 20, 'v')
    await spool.drain(control.upload)
    assert.equal(control.records.length, 40)
  })

  it('sends again after a crash what it had not noted as acknowledged, and control knows it', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    await emitMany(spool, 30)
    const control = new FakeControl()
    await spool.drain(control.upload)
    assert.equal(spool.pending, 0)
    // As after a kill -9: nothing closed the first.
    const again = await open(folder)
    assert.equal(again.pending, 30)
    await emitMany(again, 5, 'later')
    await again.drain(control.upload)
    assert.equal(again.pending, 0)
    assert.equal(control.records.length, 35)
  })

  it('wakes whoever waits for something to drain', async () => {
    const spool = await open(await newFolder())
    const waiting = spool.waiting()
    await emitMany(spool, 1)
    await waiting
    await spool.waiting()
  })

  it('deletes files that are acknowledged whole, and only those', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    const error = 'x'.repeat(60_000)
    for (let index = 0; index < 180; index += 1) await spool.emit('auth', 'T3007W', { error })
    const files = async (): Promise<number> => {
      const [epoch = ''] = (await readdir(folder)).filter((name) => /^\d+$/.test(name))
      return (await readdir(join(folder, epoch))).length
    }
    assert.equal(await files(), 3)
    const control = new FakeControl()
    await spool.drain(control.upload)
    assert.equal(await files(), 1)
    await emitMany(spool, 2)
    await spool.drain(control.upload)
    assert.equal(control.records.length, 182)
  })
})

describe('a full spool', () => {
  it('refuses by the strict rule, counts by the other, and says how much is missing', async () => {
    const spool = await open(await newFolder(), 8000)
    let kept = 0
    while ((await emit(spool, 'a', 'strict')) === 'kept') kept += 1
    assert.ok(kept > 3)
    assert.equal(await emit(spool, 'b', 'strict'), 'refused')
    for (let count = 0; count < 5; count += 1) assert.equal(await emit(spool, 'c'), 'lost')
    const control = new FakeControl()
    await spool.drain(control.upload)
    // It is written beyond the bound, by nobody who waits for it.
    while (control.records.at(-1)?.['event'] !== 'audit.gap') {
      await spool.waiting()
      await spool.drain(control.upload)
    }
    assert.equal(control.records.length, kept + 1)
  })

  it('tells the count with the first event that fits again', async () => {
    const folder = await newFolder()
    const spool = await open(folder, 8000)
    while ((await emit(spool, 'a')) === 'kept');
    await emit(spool, 'b')
    await spool.close()
    const larger = await open(folder, 80_000)
    const control = new FakeControl()
    await larger.drain(control.upload)
    // The count died with the process; that events were lost did not.
    const reason = control.records.at(-1)?.['reason']
    assert.equal(reason, 'The spool is full; events are being lost from here on.')

    const segment = max('auditSegmentBytesMax')
    const rolling = await open(await newFolder(), segment + 100_000)
    const error = 'x'.repeat(60_000)
    const fill = (): Promise<string> => rolling.emit('auth', 'T3007W', { error })
    while ((await fill()) === 'kept');
    await fill()
    await rolling.drain(control.upload)
    assert.equal(await fill(), 'kept')
    await rolling.drain(control.upload)
    const [told, last] = control.records.slice(-2)
    assert.deepEqual([told?.['event'], told?.['lost']], ['audit.gap', 2])
    assert.equal(last?.['event'], 'auth')
  })
})

describe('a spool whose disk or history is not what it was', () => {
  it('cuts off a torn record, says so, and goes on', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    await emitMany(spool, 5)
    await spool.close()
    await appendFile(await onlySegment(folder), '{"seq":6,"wri')
    const again = await open(folder)
    await emitMany(again, 1, 'v')
    const control = new FakeControl()
    await again.drain(control.upload)
    assert.deepEqual(
      control.records.map((item) => item['event']),
      ['auth', 'auth', 'auth', 'auth', 'auth', 'audit.recovered', 'auth'],
    )
    assert.equal(control.records[5]?.['dropped_bytes'], 13)
  })

  it('keeps what stands before a damaged record', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    await emitMany(spool, 5)
    await spool.close()
    const segment = await onlySegment(folder)
    await writeFile(segment, (await readFile(segment, 'utf8')).replace('"u3"', '"uX"'))
    const again = await open(folder)
    const control = new FakeControl()
    await again.drain(control.upload)
    assert.deepEqual(control.users, ['u0', 'u1', 'u2'])
    assert.equal(control.records.at(-1)?.['event'], 'audit.recovered')
  })

  it('begins a new chain with all that is left, when control holds another history', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    const control = new FakeControl()
    await emitMany(spool, 10, 'early')
    await spool.drain(control.upload)
    await spool.close()
    const backup = await newFolder()
    await cp(folder, backup, { recursive: true })
    const ahead = await open(folder)
    await emitMany(ahead, 5, 'ahead')
    await ahead.drain(control.upload)
    // The host comes back from the backup: its next records are others than those control holds.
    const back = await open(backup)
    await emitMany(back, 7, 'back')
    let emitted: Promise<string> | undefined
    control.before = () => {
      emitted ??= emit(back, 'during')
    }
    await back.drain(control.upload)
    assert.equal(await emitted, 'kept')
    await back.drain(control.upload)
    assert.deepEqual(
      control.users.slice(15, 22),
      [0, 1, 2, 3, 4, 5, 6].map((n) => `back${n}`),
    )
    assert.ok(control.users.includes('during'))
    assert.notEqual(control.position?.writer, control.records[0]?.['writer'])
    assert.equal(back.pending, 0)
    await back.close()
    const again = await open(backup)
    await emitMany(again, 1, 'after')
    await again.drain(control.upload)
    assert.equal(control.users.at(-1), 'after0')
    assert.equal((await readdir(backup)).length, 2)
  })

  it('begins anew when control acknowledges more than this host ever wrote', async () => {
    const spool = await open(await newFolder())
    await emitMany(spool, 3)
    const control = new FakeControl()
    let first = true
    await spool.drain(async (lines, count) => {
      if (!first) return control.upload(lines, count)
      first = false
      return 50
    })
    assert.deepEqual(control.users, ['u0', 'u1', 'u2'])
  })

  it('gives up for now, and keeps everything, when control refuses the new chain too', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    await emitMany(spool, 3)
    const refusing: Upload = () => Promise.reject(new ProxyError('audit.chain-broken', 'no'))
    await assert.rejects(spool.drain(refusing), { code: 'audit.unavailable' })
    await assert.rejects(
      spool.drain(() => Promise.resolve(0)),
      { code: 'audit.unavailable' },
    )
    assert.equal(spool.pending, 3)
    await spool.close()
    const control = new FakeControl()
    await (await open(folder)).drain(control.upload)
    assert.deepEqual(control.users, ['u0', 'u1', 'u2'])
  })

  it('begins a new chain when its state is gone with its records', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    const control = new FakeControl()
    await emitMany(spool, 3)
    await spool.drain(control.upload)
    await spool.close()
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true })
    clock.advance(1)
    const again = await open(folder)
    await emitMany(again, 2, 'v')
    await again.drain(control.upload)
    assert.deepEqual(control.users, ['u0', 'u1', 'u2', 'v0', 'v1'])
  })

  it('goes on behind what control holds, when acknowledged records are gone from the disk', async () => {
    const folder = await newFolder()
    const spool = await open(folder)
    const control = new FakeControl()
    await emitMany(spool, 3)
    await spool.drain(control.upload)
    await spool.close()
    const segment = await onlySegment(folder)
    const [first] = (await readFile(segment, 'utf8')).split('\n')
    await writeFile(segment, `${first}\n`)
    const again = await open(folder)
    await emitMany(again, 2, 'v')
    await again.close()
    const third = await open(folder)
    assert.equal(third.pending, 2)
    await third.drain(control.upload)
    assert.deepEqual(control.users, ['u0', 'u1', 'u2', 'v0', 'v1'])
  })

  it('holds every event it kept when it is killed in the middle of its writes', async () => {
    const folder = await newFolder()
    const control = new FakeControl()
    const kept: string[] = []
    for (const run of ['first', 'second']) {
      kept.push(...(await writeUntilKilled(folder, run, 400)))
      if (run === 'second') break
      const between = await open(folder)
      await between.drain(control.upload)
      await between.close()
    }
    const spool = await open(folder)
    await spool.drain(control.upload)
    const held = new Set(control.users)
    assert.deepEqual(
      kept.filter((user) => !held.has(user)),
      [],
    )
    assert.equal(new Set(control.records.map((item) => item['uid'])).size, control.records.length)
  })

  it('makes its files for their owner alone', async () => {
    const folder = await newFolder()
    await emitMany(await open(folder), 1)
    assert.equal((await stat(await onlySegment(folder))).mode & 0o777, 0o600)
    assert.equal((await stat(join(folder, 'state.json'))).mode & 0o777, 0o600)
  })
})

async function onlySegment(folder: string): Promise<string> {
  const [epoch = ''] = (await readdir(folder)).filter((name) => /^\d+$/.test(name))
  const [name = '', ...more] = await readdir(join(folder, epoch))
  assert.equal(more.length, 0)
  return join(folder, epoch, name)
}

async function writeUntilKilled(folder: string, run: string, until: number): Promise<string[]> {
  const script = fileURLToPath(new URL('./spool.child.ts', import.meta.url))
  const child = spawn(process.execPath, [script, folder, run], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = once(child, 'exit')
  const kept: string[] = []
  for await (const line of createInterface({ input: child.stdout })) {
    kept.push(line)
    if (kept.length === until) child.kill('SIGKILL')
  }
  assert.deepEqual(await ended, [null, 'SIGKILL'])
  return kept
}
