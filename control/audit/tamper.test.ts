// The tamper suite on files: each fault is named with record, file, line and byte.

import assert from 'node:assert/strict'
import { copyFile, cp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { describe, it } from 'node:test'
import type { AuditCheckpoint } from '../../core/snapshot.ts'
import type { AuditLog } from '../audit.ts'
import { DAY_MS, emitMany, type LogFixture, newLogFolder, TODAY } from './log.fixture.ts'

const TOMORROW = 'events-2026-11-21.jsonl'

interface Tampered {
  readonly fixture: LogFixture
  readonly log: AuditLog
  /** What a receiver kept of it. */
  readonly anchor: AuditCheckpoint
}

/** A log of two days with five records each, its checkpoint taken by a receiver. */
async function goodLog(): Promise<Tampered> {
  const fixture = await newLogFolder()
  const log = await fixture.open()
  await emitMany(log, 5)
  fixture.clock.advance(DAY_MS)
  await emitMany(log, 5)
  await log.checkpoint()
  const anchor = log.latestCheckpoint()
  assert.ok(anchor !== undefined)
  assert.equal((await log.verify({ anchors: [anchor] })).problem, undefined)
  return { fixture, log, anchor }
}

async function offsetOf(fixture: LogFixture, name: string, line: number): Promise<number> {
  const lines = await fixture.lines(name)
  return Buffer.byteLength(lines.slice(0, line - 1).join('\n')) + (line > 1 ? 1 : 0)
}

/** Verifying must name this record, at this line of this file and at the byte where that line begins. */
async function assertNamed(
  { fixture, log }: Tampered,
  expected: string,
  anchors: readonly AuditCheckpoint[] = [],
): Promise<void> {
  const { ok, fault, problem } = await log.verify({ anchors })
  assert.equal(ok, false)
  assert.equal(`${fault?.kind} ${fault?.seq} in ${fault?.file}:${fault?.line}`, expected)
  assert.equal(fault?.offset, await offsetOf(fixture, fault?.file ?? '', fault?.line ?? 0))
  assert.equal(problem, fault?.message)
}

describe('verifying names what was done to the log, and where:', () => {
  it('a flipped bit', async () => {
    const good = await goodLog()
    const bytes = await readFile(good.fixture.path(TOMORROW))
    const at = bytes.indexOf('user-2')
    bytes[at] = (bytes[at] ?? 0) ^ 1
    await writeFile(good.fixture.path(TOMORROW), bytes)
    await assertNamed(good, `changed 8 in ${TOMORROW}:3`)
  })

  it('a dropped record', async () => {
    const good = await goodLog()
    await good.fixture.write((await good.fixture.lines()).toSpliced(1, 1))
    await assertNamed(good, `missing 2 in ${TODAY}:2`)
  })

  it('a dropped file', async () => {
    const good = await goodLog()
    await rm(good.fixture.path(TODAY))
    await assertNamed(good, `missing 1 in ${TOMORROW}:1`)
  })

  it('two records that changed places', async () => {
    const good = await goodLog()
    const [a = '', b = '', c = '', ...rest] = await good.fixture.lines()
    await good.fixture.write([a, c, b, ...rest])
    await assertNamed(good, `reordered 2 in ${TODAY}:2`)
  })

  it('two files that changed places', async () => {
    const good = await goodLog()
    await rename(good.fixture.path(TODAY), good.fixture.path('events-2026-11-22.jsonl'))
    await assertNamed(good, `reordered 1 in ${TOMORROW}:1`)
  })

  it('a repeated record', async () => {
    const good = await goodLog()
    const lines = await good.fixture.lines()
    await good.fixture.write(lines.toSpliced(3, 0, lines[2] ?? ''))
    await assertNamed(good, `repeated 3 in ${TODAY}:4`)
  })

  it('a truncated file', async () => {
    const good = await goodLog()
    await truncate(good.fixture.path(TODAY), (await offsetOf(good.fixture, TODAY, 4)) + 30)
    await assertNamed(good, `malformed 4 in ${TODAY}:4`)
    await truncate(good.fixture.path(TODAY), await offsetOf(good.fixture, TODAY, 4))
    await assertNamed(good, `missing 4 in ${TOMORROW}:1`)
  })

  it('a cut tail', async () => {
    const good = await goodLog()
    await truncate(good.fixture.path(TOMORROW), await offsetOf(good.fixture, TOMORROW, 5))
    await assertNamed(good, `shortened 10 in ${TOMORROW}:5`)
  })

  it('a tail cut behind the last checkpoint, while the log is open', async () => {
    const good = await goodLog()
    await emitMany(good.log, 2)
    await truncate(good.fixture.path(TOMORROW), await offsetOf(good.fixture, TOMORROW, 7))
    await assertNamed(good, `shortened 12 in ${TOMORROW}:7`)
  })

  it('a record spliced in from another history of the same writer', async () => {
    const good = await goodLog()
    const other = await goodLog()
    const [, , third = ''] = await other.fixture.lines()
    await good.fixture.write((await good.fixture.lines()).with(2, third))
    await assertNamed(good, `forked 3 in ${TODAY}:3`)
  })

  it('a history written anew whole, by the log’s own checkpoint', async () => {
    const good = await goodLog()
    const other = await goodLog()
    for (const name of [TODAY, TOMORROW]) {
      await copyFile(other.fixture.path(name), good.fixture.path(name))
    }
    await rm(good.fixture.path('state.json'))
    const log = await good.fixture.open()
    await assertNamed({ ...good, log }, `forked 10 in ${TOMORROW}:5`)
  })

  it('a folder rolled back with its checkpoints, by the anchor of a receiver', async () => {
    const fixture = await newLogFolder()
    const first = await fixture.open()
    await emitMany(first, 5)
    await first.close()
    const copy = await newLogFolder()
    await cp(fixture.folder, copy.folder, { recursive: true })
    const second = await fixture.open()
    await emitMany(second, 3)
    await second.checkpoint()
    const anchor = second.latestCheckpoint()
    assert.ok(anchor !== undefined)
    const log = await copy.open()
    assert.equal((await log.verify()).ok, true)
    await assertNamed({ fixture: copy, log, anchor }, `shortened 6 in ${TODAY}:6`, [anchor])
    // It goes on writing: now it is a fork.
    await emitMany(log, 5)
    await assertNamed({ fixture: copy, log, anchor }, `forked 8 in ${TODAY}:8`, [anchor])
  })

  it('a checkpoint of its own whose signature does not hold', async () => {
    const good = await goodLog()
    const path = good.fixture.path('checkpoints.jsonl')
    await writeFile(path, (await readFile(path, 'utf8')).replace('"count":10', '"count":9'))
    const { ok, problem } = await good.log.verify()
    assert.equal(ok, false)
    assert.match(problem ?? '', /checkpoint 1 of checkpoints.jsonl .* no valid signature/)
  })

  it('but not by anchors that nobody of this cluster signed', async () => {
    const { log, anchor } = await goodLog()
    const report = await log.verify({ anchors: [{ ...anchor, count: 99 }, anchor] })
    assert.deepEqual(
      { ok: report.ok, anchors: report.anchors, refused: report.anchorsRefused },
      { ok: true, anchors: 1, refused: 1 },
    )
  })
})
