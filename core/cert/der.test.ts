// DER: vectors written out by hand, each rule of the strict form broken once, and any bytes at all.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import fc from 'fast-check'

import { errorCode } from '../errors.ts'
import {
  bitString,
  DerReader,
  element,
  integer,
  oid,
  readWhole,
  sequence,
  TAG,
  time,
} from './der.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')
const reader = (text: string): DerReader => new DerReader(hex(text))
const malformed = (error: unknown): boolean => errorCode(error) === 'cert.malformed'

describe('reading', () => {
  test('a sequence of integer, boolean and octets is read in order', () => {
    const inner = readWhole(hex('30 0b  02 02 00 80  01 01 ff  04 02 aa bb'))
    assert.deepEqual([...inner.unsigned()], [0x80])
    assert.equal(inner.boolean(), true)
    assert.deepEqual([...inner.content(TAG.octetString)], [0xaa, 0xbb])
    inner.end()
  })

  const refused: readonly (readonly [string, string, (reader: DerReader) => unknown])[] = [
    ['an indefinite length', '30 80 00 00', (r) => r.enter()],
    ['a long form for a short length', '04 81 01 aa', (r) => r.element()],
    ['a length with a leading zero', `04 82 00 80${'aa'.repeat(128)}`, (r) => r.element()],
    ['a length of five bytes', '04 85 00 00 00 00 01 aa', (r) => r.element()],
    ['a length beyond the end', '04 02 aa', (r) => r.element()],
    ['a header cut in its length', '04 82 01', (r) => r.element()],
    ['a tag of several bytes', '1f 01 00', (r) => r.element()],
    ['no element at all', '', (r) => r.element()],
    ['another tag', '04 01 aa', (r) => r.unsigned()],
    ['a negative integer', '02 01 80', (r) => r.unsigned()],
    ['an empty integer', '02 00', (r) => r.unsigned()],
    ['an integer with a needless zero', '02 02 00 7f', (r) => r.unsigned()],
    ['a version of two bytes', '02 02 01 00', (r) => r.small()],
    ['a boolean that is neither 00 nor FF', '01 01 01', (r) => r.boolean()],
    ['a boolean of two bytes', '01 02 ff ff', (r) => r.boolean()],
    ['a bit string with eight unused bits', '03 02 08 00', (r) => r.bitString()],
    ['an empty bit string with unused bits', '03 01 01', (r) => r.bitString()],
    ['a bit string without its first byte', '03 00', (r) => r.bitString()],
    ['unused bits that are set', '03 02 01 03', (r) => r.bitString()],
    ['a key of broken bytes', '03 02 01 02', (r) => r.bytes()],
    ['an object identifier with a leading 80', '06 03 2a 80 01', (r) => r.oid()],
    ['an object identifier that stops midway', '06 02 2a 86', (r) => r.oid()],
    ['an empty object identifier', '06 00', (r) => r.oid()],
    ['an object identifier over the bound', `06 41 2a${'01'.repeat(64)}`, (r) => r.oid()],
    ['trailing bytes', '04 00 00', (r) => [r.element(), r.end()]],
  ]
  for (const [what, bytes, read] of refused)
    test(`${what} is refused`, () => {
      assert.throws(() => read(reader(bytes)), malformed)
    })

  test('nesting stops at the depth limit', () => {
    const nest = (depth: number): Uint8Array =>
      depth === 0 ? sequence() : sequence(nest(depth - 1))
    const descend = (from: DerReader): void => {
      if (!from.done) descend(from.enter())
    }
    descend(new DerReader(nest(31)))
    assert.throws(() => descend(new DerReader(nest(32))), malformed)
  })

  test('any bytes end in a value or in cert.malformed, and the cursor never leaves the view', () => {
    const walk = (from: DerReader): void => {
      while (!from.done) {
        const { tag = 0 } = from
        if ((tag & 0x20) !== 0) walk(from.enter(tag))
        else from.element()
      }
    }
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        try {
          walk(new DerReader(bytes))
        } catch (error) {
          assert.ok(malformed(error))
        }
      }),
    )
  })
})

describe('object identifiers', () => {
  test('small, two-byte and UUID arcs are written as X.690 says', () => {
    assert.deepEqual(oid('1.2.840.10045.4.3.2'), hex('06 08 2a8648ce3d040302'))
    assert.deepEqual(oid('2.5.29.15'), hex('06 03 551d0f'))
    assert.deepEqual(oid('1.3.101.112'), hex('06 03 2b6570'))
    // 2.25.1 after X.667: the first two arcs share 69 hexadecimal = 2 * 40 + 25.
    assert.deepEqual(oid('2.25.1'), hex('06 02 69 01'))
  })

  test('what is written is read again, for arcs up to 128 bits', () => {
    const arcs = fc.bigInt({ min: 0n, max: 2n ** 128n - 1n })
    fc.assert(
      fc.property(arcs, arcs, (a, b) => {
        const dotted = `2.${a}.${b}`
        assert.equal(new DerReader(oid(dotted)).oid(), dotted)
      }),
    )
  })
})

describe('integers', () => {
  test('a leading zero byte appears exactly when the sign bit is set', () => {
    assert.deepEqual(integer(Uint8Array.of(0x7f)), hex('02 01 7f'))
    assert.deepEqual(integer(Uint8Array.of(0x80)), hex('02 02 00 80'))
    assert.deepEqual(integer(Uint8Array.of(0, 0, 1)), hex('02 01 01'))
    assert.deepEqual(integer(Uint8Array.of()), hex('02 01 00'))
  })
})

describe('lengths', () => {
  for (const [length, header] of [
    [0x7f, '04 7f'],
    [0x80, '04 81 80'],
    [0xff, '04 81 ff'],
    [0x100, '04 82 01 00'],
    [0x10000, '04 83 01 00 00'],
  ] as const)
    test(`a content of ${length} bytes gets its shortest header and is read again`, () => {
      const whole = element(TAG.octetString, new Uint8Array(length))
      assert.deepEqual(Buffer.from(whole).subarray(0, whole.length - length), hex(header))
      assert.equal(new DerReader(whole).content(TAG.octetString).length, length)
    })
})

describe('dates', () => {
  test('until 2049 they are UTCTime, from 2050 GeneralizedTime', () => {
    assert.deepEqual(time(Date.UTC(2049, 11, 31, 23, 59, 59)), hex(`17 0d${text('491231235959Z')}`))
    assert.deepEqual(time(Date.UTC(2050, 0, 1)), hex(`18 0f${text('20500101000000Z')}`))
  })

  test('what is written is read again, to the second', () => {
    const span = fc.integer({ min: Date.UTC(1950, 0, 1), max: Date.UTC(9999, 11, 31) })
    fc.assert(
      fc.property(span, (ms) => {
        assert.equal(new DerReader(time(ms)).time(), Math.floor(ms / 1000) * 1000)
      }),
    )
  })

  for (const bad of [
    ['17', '260230120000Z'],
    ['17', '261301120000Z'],
    ['17', '260101126000Z'],
    ['17', '2601011200Z'],
    ['17', '260101120000+0100'],
    ['17', '260101120000z'],
    ['18', '20260101120000Z'],
    ['18', '20500101120000.5Z'],
    ['18', '00010101000000Z'],
    ['04', '260101120000Z'],
  ] as const)
    test(`${bad[1]} under tag ${bad[0]} is refused`, () => {
      const [tag, value] = bad
      const bytes = element(Number.parseInt(tag, 16), Buffer.from(value))
      assert.throws(() => new DerReader(bytes).time(), malformed)
    })
})

test('a bit string keeps its count of unused bits', () => {
  assert.deepEqual(bitString(Uint8Array.of(0x06), 1), hex('03 02 01 06'))
  assert.deepEqual(reader('03 02 01 06').bitString().unused, 1)
})

function text(value: string): string {
  return Buffer.from(value).toString('hex')
}
