// When an append resolves, what a failing disk costs, and what is refused in front of it.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { max } from '../limits.ts'
import { genesis, readLine } from './chain.ts'
import { type AuditEvent, auditEvent } from './event.ts'
import { Journal, type JournalSink } from './journal.ts'
import { ChainVerifier } from './verify.ts'

/** A disk in memory whose every commit waits for `release`. */
class SlowSink implements JournalSink {
  readonly groups: string[] = []
  #release: (() => void) | undefined
  #asked: (() => void) | undefined
  failure: Error | undefined

  async commit(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#release = resolve
      this.#asked?.()
      this.#asked = undefined
    })
    if (this.failure !== undefined) throw this.failure
    this.groups.push(Buffer.from(bytes).toString())
  }

  /** Waits until a commit is under way, then lets it end. */
  async release(): Promise<void> {
    if (this.#release === undefined) await new Promise<void>((resolve) => (this.#asked = resolve))
    this.#release?.()
    this.#release = undefined
  }

  verify(): ChainVerifier {
    const verifier = new ChainVerifier(genesis('w'))
    const lines = this.groups.join('').split('\n').slice(0, -1)
    for (const line of lines) verifier.line(line, { file: '', line: 0, offset: 0 })
    assert.equal(verifier.fault, undefined)
    return verifier
  }
}

function event(user: string): AuditEvent {
  return auditEvent('user.login', 'T1000I', { user }, { uid: 'u', timeMs: 0, cluster: 'c' })
}

describe('the journal', () => {
  it('resolves an append only when its group is durable, and groups what comes meanwhile', async () => {
    const sink = new SlowSink()
    const journal = new Journal(genesis('w'), sink)
    let durable = 0
    const count = (): number => (durable += 1)
    const first = journal.append([event('a')]).then(count)
    const together = [journal.append([event('b')]).then(count)]
    await sink.release()
    await Promise.all([first, ...together])
    const third = journal.append([event('c'), event('d')])
    const waiting = [journal.append([event('e')])]
    await sink.release()
    assert.deepEqual(await third, { ...journal.position, seq: 4, hash: (await third).hash })
    await Promise.all(waiting)
    assert.equal(journal.position.seq, 5)
    assert.equal(sink.groups.length, 2)
    assert.equal(sink.verify().records, 5)
    assert.equal(readLine(sink.groups[0]?.split('\n')[1] ?? '')?.event['user'], 'b')
  })

  it('fails the group a sink fails, and goes on from where it stood', async () => {
    const sink = new SlowSink()
    const journal = new Journal(genesis('w'), sink)
    sink.failure = new Error('disk full')
    const failed = [journal.append([event('a')]), journal.append([event('b')])]
    await sink.release()
    for (const append of failed) await assert.rejects(append, { code: 'audit.unavailable' })
    assert.equal(journal.position.seq, 0)
    assert.equal(journal.pendingBytes, 0)
    sink.failure = undefined
    const next = journal.append([event('c')])
    await sink.release()
    assert.equal((await next).seq, 1)
    assert.equal(sink.verify().records, 1)
  })

  it('tells each append of its place before the group, and the group before callers go on', async () => {
    const told: string[] = []
    const sink: JournalSink = { commit: () => Promise.resolve() }
    const journal = new Journal(genesis('w'), sink, ({ seq }) => told.push(`group ${seq}`))
    const append = (name: string): Promise<unknown> =>
      journal
        .append([event(name)], ({ seq }) => told.push(`${name} ${seq}`))
        .then(() => told.push(`resolved ${name}`))
    await Promise.all([append('a'), append('b')])
    assert.deepEqual(told, ['a 1', 'b 2', 'group 2', 'resolved a', 'resolved b'])
  })

  it('refuses at once what does not fit in front of the disk', async () => {
    const sink = new SlowSink()
    const journal = new Journal(genesis('w'), sink)
    const large = Array.from({ length: 1000 }, (_, index) => event('x'.repeat(60_000) + index))
    const accepted = journal.append(large.slice(0, 270))
    await assert.rejects(journal.append(large.slice(0, 20)), { code: 'limit.exceeded' })
    assert.ok(journal.pendingBytes <= max('auditPendingBytesMax'))
    await sink.release()
    await accepted
    assert.equal(journal.pendingBytes, 0)
  })

  it('refuses an event whose line could not be read back', async () => {
    const journal = new Journal(genesis('w'), new SlowSink())
    const huge = { ...event('a'), note: 'x'.repeat(max('auditEventBytesMax') + 1000) }
    await assert.rejects(journal.append([huge]), { code: 'limit.exceeded' })
    assert.equal((await journal.append([])).seq, 0)
  })

  it('loses no append that comes in the turn in which it falls idle', async () => {
    const journal = new Journal(genesis('w'), { commit: () => Promise.resolve() })
    for (let count = 1; count <= 200; count += 1) {
      assert.equal((await journal.append([event('a')])).seq, count)
      for (let turns = 0; turns < count % 5; turns += 1) await Promise.resolve()
    }
    await journal.idle()
  })
})
