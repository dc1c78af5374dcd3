// The preface of terminate mode: cut at every byte it asks for more, changed or too long it is refused before anything is kept.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { max } from '../limits.ts'
import { forwardBytesMax, forwardName, readForward, writeForward } from './forward.ts'

const CERTIFICATE = Uint8Array.from({ length: 300 }, (_, at) => at % 251)
const PERMIT = Uint8Array.of(1, 2, 3)
const NOTHING = new Uint8Array(0)

describe('the preface of a forwarded client', () => {
  for (const permit of [NOTHING, PERMIT])
    it(`with a permit of ${permit.length} bytes is read back, wherever it is cut`, () => {
      const bytes = writeForward({ certificate: CERTIFICATE, permit })
      for (let length = 0; length < bytes.length; length++)
        assert.deepEqual(readForward(bytes.subarray(0, length)), { verdict: 'more' }, `${length}`)
      const reading = readForward(Buffer.concat([bytes, Buffer.from('start-up')]))
      assert.ok(reading.verdict === 'frame')
      assert.deepEqual([...reading.frame.certificate], [...CERTIFICATE])
      assert.deepEqual([...reading.frame.permit], [...permit])
      assert.equal(reading.end, bytes.length)
    })

  it('of another magic or version is refused at that byte', () => {
    const bytes = writeForward({ certificate: CERTIFICATE, permit: PERMIT })
    for (let at = 0; at < 5; at++) {
      const wrong = Uint8Array.from(bytes.subarray(0, at + 1))
      wrong[at] = (wrong[at] ?? 0) ^ 0x40
      assert.equal(readForward(wrong).verdict, 'bad', `byte ${at}`)
    }
  })

  it('that announces more than its limits, or no certificate, is refused with its head', () => {
    const certificates = [0, max('forwardCertificateBytesMax') + 1, 0xffff]
    for (const length of certificates) assert.equal(readForward(head(length, 0)).verdict, 'bad')
    assert.equal(readForward(head(1, max('permitBytesMax') + 1)).verdict, 'bad')
    const largest = head(max('forwardCertificateBytesMax'), max('permitBytesMax'))
    assert.equal(readForward(largest).verdict, 'more')
  })

  it('is never asked to grow over its longest', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (tail) => {
        const padded = new Uint8Array(forwardBytesMax())
        padded.set(writeForward({ certificate: CERTIFICATE, permit: NOTHING }).subarray(0, 5))
        padded.set(tail.subarray(0, 59), 5)
        assert.notEqual(readForward(padded).verdict, 'more')
      }),
    )
  })

  it('is not written when it is too long to be read', () => {
    const long = new Uint8Array(max('forwardCertificateBytesMax') + 1)
    assert.throws(() => writeForward({ certificate: long, permit: NOTHING }), RangeError)
    assert.throws(() => writeForward({ certificate: NOTHING, permit: NOTHING }), RangeError)
    const permit = new Uint8Array(max('permitBytesMax') + 1)
    assert.throws(() => writeForward({ certificate: CERTIFICATE, permit }), RangeError)
  })

  it('is opened under one label of the target’s own wildcard', () => {
    assert.equal(
      forwardName({ kind: 'kube_cluster' }, 'east', 'c.test'),
      'terminate.east.kube.c.test',
    )
  })
})

/** The first nine bytes of a preface with these lengths. */
function head(certificate: number, permit: number): Uint8Array {
  const bytes = Buffer.from(
    writeForward({ certificate: CERTIFICATE, permit: NOTHING }).subarray(0, 9),
  )
  bytes.writeUInt16BE(certificate, 5)
  bytes.writeUInt16BE(permit, 7)
  return bytes
}
