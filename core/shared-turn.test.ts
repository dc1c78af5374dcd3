// Who shares a run: everybody who asked before it began, and nobody who asked while it ran.

import assert from 'node:assert/strict'
import { it } from 'node:test'

import { SharedTurn } from './shared-turn.ts'

function rig(): { turn: SharedTurn; runs: PromiseWithResolvers<void>[] } {
  const runs: PromiseWithResolvers<void>[] = []
  const turn = new SharedTurn(() => {
    const run = Promise.withResolvers<void>()
    runs.push(run)
    return run.promise
  })
  return { turn, runs }
}

it('whoever asks while it runs shares the next run, which begins when the first has ended', async () => {
  const { turn, runs } = rig()
  const first = turn.run()
  const heard: string[] = []
  const others = ['b', 'c'].map((name) => turn.run().then(() => heard.push(name)))
  assert.equal(runs.length, 1)
  runs[0]?.resolve()
  await first
  await Promise.resolve()
  assert.deepEqual([runs.length, heard], [2, []])
  runs[1]?.resolve()
  await Promise.all(others)
  assert.equal(runs.length, 2)
  void turn.run()
  assert.equal(runs.length, 3)
})

it('a run that fails fails those who shared it, and nobody else', async () => {
  const { turn, runs } = rig()
  const first = turn.run()
  const second = turn.run()
  runs[0]?.reject(new Error('no disk'))
  await assert.rejects(first, /no disk/)
  await Promise.resolve()
  runs[1]?.resolve()
  await second
})
