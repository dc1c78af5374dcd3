// Lines of passwd and shadow as they are read.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { hasExpired, readPasswd } from './account.ts'

const DAY_MS = 86_400_000

describe('an account', () => {
  it('is the line of its own name alone', () => {
    const line = 'alice:x:1001:1002:Alice,,,:/home/alice:/bin/zsh\n'
    const alice = { name: 'alice', uid: 1001, gid: 1002, home: '/home/alice', shell: '/bin/zsh' }
    assert.deepEqual(readPasswd('alice', line), alice)
    assert.equal(readPasswd('bob', line), undefined)
    // getent takes a number for a uid.
    assert.equal(readPasswd('1001', line), undefined)
    assert.equal(readPasswd('alice', ''), undefined)
  })

  it('has a home and a shell when passwd names none, and never an id that means another', () => {
    const bare = readPasswd('a', 'a:x:1:1:::')
    assert.deepEqual([bare?.home, bare?.shell], ['/', '/bin/sh'])
    for (const id of ['', '-1', '0x0', '4294967295', '1e3', ' 0'])
      assert.equal(readPasswd('a', `a:x:${id}:1::/:/bin/sh`), undefined, id)
  })

  it('ends on the day that shadow names', () => {
    assert.equal(hasExpired('a:!:19000:0:99999:7::20000:', 20_000 * DAY_MS), true)
    assert.equal(hasExpired('a:!:19000:0:99999:7::20000:', 20_000 * DAY_MS - 1), false)
    assert.equal(hasExpired('a:!:19000:0:99999:7:::', 30_000 * DAY_MS), false)
    assert.equal(hasExpired('', 30_000 * DAY_MS), false)
  })
})
