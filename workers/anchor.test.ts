// Checkpoints as a receiver keeps them: forward only, and every step back is told once.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { AuditCheckpoint } from '../core/snapshot.ts'
import { Anchor } from './anchor.ts'

function checkpoint(count: number, head = 'a', timeMs = count): AuditCheckpoint {
  return { writer: 'control', count, head: head.repeat(64), timeMs, signature: '' }
}

function anchor(saved?: AuditCheckpoint): { anchor: Anchor; saves: number[]; forks: string[] } {
  const saves: number[] = []
  const forks: string[] = []
  const made = new Anchor({
    saved,
    save: ({ count }) => saves.push(count),
    onFork: (verdict) => forks.push(verdict),
  })
  return { anchor: made, saves, forks }
}

describe('Anchor', () => {
  it('saves what is newer, once', () => {
    const { anchor: kept, saves } = anchor()
    for (const count of [1, 2, 2, 5]) kept.take(checkpoint(count))
    assert.deepEqual(saves, [1, 2, 5])
  })

  it('reports a log that became shorter, once, and keeps the longer one', () => {
    const { anchor: kept, forks } = anchor(checkpoint(5))
    kept.take(checkpoint(3, 'a', 9))
    kept.take(checkpoint(3, 'a', 9))
    assert.deepEqual(forks, ['shortened'])
    assert.equal(kept.checkpoint?.count, 5)
  })

  it('reports another history of the same length', () => {
    const { anchor: kept, forks } = anchor(checkpoint(5))
    kept.take(checkpoint(5, 'b'))
    assert.deepEqual(forks, ['forked'])
  })

  it('begins anew with another writer', () => {
    const { anchor: kept, forks, saves } = anchor(checkpoint(5))
    kept.take({ ...checkpoint(1), writer: 'control-2' })
    assert.deepEqual([forks, saves], [[], [1]])
  })
})
