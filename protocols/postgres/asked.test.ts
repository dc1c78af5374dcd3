// Texts in the body of a message, as a cursor reads them: where each ends, in a chunk that goes on behind the body.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import { max } from '../../core/limits.ts'
import { Body } from './asked.ts'

/** A body in the middle of a chunk; what stands around it has zero bytes, too. */
function bodyOf(text: string): Body {
  const bytes = Buffer.from(`\0x${text}y\0`, 'latin1')
  return new Body(bytes, 2, bytes.length - 2)
}

test('names and texts of any length end at their zero byte, and the next begins behind it', () => {
  for (let length = 0; length <= 40; length++) {
    const name = 'n'.repeat(length)
    const body = bodyOf(`${name}\0${name}\0end\0`)
    assert.equal(body.name(), name)
    assert.deepEqual(body.text(1000), { text: name, bytes: length, cut: false })
    assert.equal(body.name(), 'end')
    assert.equal(body.left, 0)
  }
})

test('without a zero byte a text ends where its body does', () => {
  for (let length = 0; length <= 40; length++) {
    const text = 't'.repeat(length)
    assert.deepEqual(bodyOf(text).text(1000), { text, bytes: length, cut: true })
    const body = bodyOf(text)
    assert.equal(body.name(), text)
    assert.equal(body.name(), '')
  }
})

test('a name counts up to its bound, and is passed over whole', () => {
  const body = bodyOf(`${'n'.repeat(max('pgNameBytesMax') + 10)}\0next\0`)
  assert.equal(body.name(), 'n'.repeat(max('pgNameBytesMax')))
  assert.equal(body.name(), 'next')
})
