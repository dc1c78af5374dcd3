// Strangers are summed up, never reported one by one, and cannot fill the memory.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../core/limits.ts'
import { type StrangerSummary, Strangers } from './strangers.ts'

describe('Strangers', () => {
  it('says once a minute how many came from where, the busiest first', (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] })
    const said: StrangerSummary[] = []
    const strangers = new Strangers((summary) => said.push(summary))
    for (const source of ['a', 'b', 'b', 'b']) strangers.note(source)
    context.mock.timers.tick(max('strangerSummaryMs') - 1)
    assert.deepEqual(said, [])
    context.mock.timers.tick(1)
    const sources = [
      { source: 'b', count: 3 },
      { source: 'a', count: 1 },
    ]
    assert.deepEqual(said, [{ total: 4, sources, others: 0 }])
    context.mock.timers.tick(10 * max('strangerSummaryMs'))
    assert.equal(said.length, 1)
  })

  it('names no more sources than its bound', () => {
    const said: StrangerSummary[] = []
    const strangers = new Strangers((summary) => said.push(summary))
    const count = max('strangerSourcesMax') + 7
    for (let i = 0; i < count; i++) strangers.note(`source ${i}`)
    strangers.flush()
    assert.equal(said[0]?.sources.length, max('strangerSourcesMax'))
    assert.deepEqual([said[0]?.others, said[0]?.total], [7, count])
  })
})
