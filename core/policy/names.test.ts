// Names that are refused, names that are the same, and labels that stand for targets.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import {
  foldName,
  nodeNameProblem,
  roleNameProblem,
  targetLabel,
  targetNameProblem,
  userNameProblem,
} from './names.ts'

describe('a user name', () => {
  it('may be a mail address or a plain name', () => {
    for (const name of ['alice', 'Alice.B', 'a+b@corp.test', '_x', '1'])
      assert.equal(userNameProblem(name), undefined, name)
  })

  it('has no look-alikes, controls, spaces or path parts', () => {
    const bad = [
      '',
      'аlice',
      'a b',
      'a\nb',
      'a/b',
      '..',
      '-rf',
      'a\u202eb',
      'é',
      'x'.repeat(129),
      'a\0',
    ]
    for (const name of bad) assert.notEqual(userNameProblem(name), undefined, JSON.stringify(name))
  })

  it('does not take what belongs to the system or to bots', () => {
    assert.match(userNameProblem('@approver') ?? '', /system/)
    assert.match(userNameProblem('BOT-ci') ?? '', /bots/)
    assert.match(roleNameProblem('@x') ?? '', /system/)
  })

  it('is the same name in capitals and in compatibility forms', () => {
    assert.equal(foldName('Alice'), foldName('aLICE'))
    assert.equal(foldName('ａdmin'), 'admin')
  })
})

describe('a target', () => {
  it('is called by letters, digits, dots, dashes and underscores', () => {
    for (const name of ['orders', 'Orders_2', 'a.b-c'])
      assert.equal(targetNameProblem(name), undefined)
    for (const name of ['', '-a', 'a-', '.a', 'a b', 'ä', '*', 'x'.repeat(129)])
      assert.notEqual(targetNameProblem(name), undefined, name)
  })

  it('keeps its name as label when that is one, and has a hash for its label otherwise', () => {
    assert.equal(targetLabel('orders-2'), 'orders-2')
    for (const name of ['Orders', 'a.b', 'a_b', 'x'.repeat(64), `x-${'a'.repeat(26)}`])
      assert.match(targetLabel(name), /^x-[a-z2-7]{26}$/)
    assert.notEqual(targetLabel('Orders'), targetLabel('oRders'))
  })

  it('has the base32 of SHA-256 as its hash, by another way of computing it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1 }), (name) => {
        const bits = [...createHash('sha256').update(name, 'utf8').digest()]
          .map((byte) => byte.toString(2).padStart(8, '0'))
          .join('')
        const chars = Array.from({ length: 26 }, (_, i) =>
          Number.parseInt(bits.slice(i * 5, i * 5 + 5), 2),
        )
        const want = chars.map((n) => 'abcdefghijklmnopqrstuvwxyz234567'[n]).join('')
        const label = targetLabel(name)
        assert.ok(label === `x-${want}` || label === name)
      }),
    )
  })

  it('never shares its label with another target', () => {
    const name = fc.oneof(
      fc.string({ maxLength: 6 }),
      fc.constant(targetLabel('A')),
      fc.constant('A'),
    )
    fc.assert(
      fc.property(name, name, (a, b) => {
        assert.equal(targetLabel(a) === targetLabel(b), a === b)
      }),
    )
  })

  it('on a node is one label', () => {
    assert.equal(nodeNameProblem('web-1'), undefined)
    for (const name of ['x.prod', 'Web', '', 'x'.repeat(64)])
      assert.notEqual(nodeNameProblem(name), undefined)
  })
})
