import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { freeBytes, freePacketOf } from './free.ts'

const BYTES = 32 * 1024

describe('freeing', () => {
  it('empties a large buffer of which these bytes are all', () => {
    const bytes = new Uint8Array(BYTES)
    freeBytes(bytes)
    assert.equal(bytes.buffer.byteLength, 0)
    assert.equal(bytes.length, 0)
  })

  it('leaves a part of a buffer alone, and a buffer that is small', () => {
    const whole = Buffer.alloc(BYTES, 'x')
    freeBytes(whole.subarray(1))
    freePacketOf(whole.subarray(0, BYTES - 1024))
    assert.equal(whole.length, BYTES)
    const small = new Uint8Array(1024)
    freeBytes(small)
    freePacketOf(small)
    assert.equal(small.length, 1024)
    const pooled = Buffer.allocUnsafe(1024).fill('y')
    freePacketOf(pooled)
    assert.equal(pooled.toString(), 'y'.repeat(1024))
  })

  it('empties what a packet was around these bytes', () => {
    const packet = new Uint8Array(BYTES + 30)
    freePacketOf(packet.subarray(10, BYTES))
    assert.equal(packet.buffer.byteLength, 0)
  })
})
