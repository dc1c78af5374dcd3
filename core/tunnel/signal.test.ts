// Handles: 32 bits that lead to a proxy and a slot, positive as a signed word, never 0.

import assert from 'node:assert/strict'
import test from 'node:test'

import fc from 'fast-check'

import { handleOf, isHandleOf, SIGNAL_SLOTS, signalHandle } from './signal.ts'

test('a handle is of the proxy that gave it, fits a signed word and is read back from a key', () => {
  fc.assert(
    fc.property(fc.uuid(), fc.integer({ min: 1, max: SIGNAL_SLOTS - 1 }), (proxyId, slot) => {
      const handle = signalHandle(proxyId, slot)
      assert.ok(handle > 0 && handle < 2 ** 31)
      assert.ok(isHandleOf(handle, proxyId))
      const key = Buffer.alloc(4 + 4 + 2)
      key.writeUInt32BE(handle, 2)
      // A view into a larger buffer, as bytes from a socket are.
      assert.equal(handleOf(key.subarray(2)), handle)
    }),
  )
})

test('proxies differ in their handles, nearly always', () => {
  const other = Array.from({ length: 200 }, (_, i) => isHandleOf(signalHandle('a', 7), `p${i}`))
  assert.ok(other.filter(Boolean).length < 5)
})

test('what is too short, too long or of handle 0 is no key', () => {
  for (const key of [Buffer.alloc(0), Buffer.alloc(7, 1), Buffer.alloc(261, 1), Buffer.alloc(36)])
    assert.equal(handleOf(key), undefined)
  assert.equal(handleOf(Buffer.alloc(8, 1)), 0x01010101)
  assert.equal(handleOf(Buffer.alloc(260, 1)), 0x01010101)
})
