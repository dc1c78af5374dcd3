// Terminal modes as clients encode them, and as stty is told.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { errorCode } from '../errors.ts'
import { modesOf, sttyArguments } from './terminal-modes.ts'

/** Pairs of an opcode and a number, RFC 4254 section 8. */
function modes(...pairs: readonly (readonly [opcode: number, value: number])[]): Uint8Array {
  const one = ([opcode, value]: readonly [number, number]): number[] => [
    opcode,
    ...[24, 16, 8, 0].map((shift) => (value >>> shift) & 0xff),
  ]
  return Uint8Array.from(pairs.flatMap(one))
}

const END = Uint8Array.of(0)

describe('terminal modes', () => {
  it('are characters, written so that a digit stays a number, and flags', () => {
    const bytes = modes([1, 3], [3, 0x7f], [5, 255], [53, 0], [36, 1], [51, 7])
    assert.deepEqual(sttyArguments(Buffer.concat([bytes, END])), [
      'intr',
      '0x3',
      'erase',
      '0x7f',
      'eof',
      'undef',
      '-echo',
      'icrnl',
      'icanon',
    ])
  })

  it('are rates and sizes of characters that exist', () => {
    const bytes = modes([128, 38_400], [129, 12_345], [91, 1], [90, 0])
    assert.deepEqual(sttyArguments(bytes), ['ispeed', '38400', 'cs8'])
  })

  it('end at the end, and at the first opcode that nobody has defined; others in between mean nothing here', () => {
    const echo = modes([53, 1])
    assert.deepEqual(sttyArguments(Buffer.concat([echo, END, echo])), ['echo'])
    assert.deepEqual(sttyArguments(Buffer.concat([echo, Uint8Array.of(160, 1)])), ['echo'])
    assert.deepEqual(sttyArguments(Buffer.concat([modes([11, 1], [120, 9]), echo])), ['echo'])
    assert.deepEqual(sttyArguments(new Uint8Array(0)), [])
  })

  it('that are cut off, and characters of more than a byte, are refused', () => {
    const whole = modes([1, 3])
    for (let length = 1; length < whole.length; length++)
      assert.throws(() => sttyArguments(whole.subarray(0, length)), /before its last field/)
    assert.throws(
      () => sttyArguments(modes([1, 256])),
      (error) => errorCode(error) === 'protocol.violation',
    )
  })
})

describe('what stty prints', () => {
  it('is encoded, and means the same when it is read again', () => {
    const linux = [
      'speed 38400 baud; rows 24; columns 80; line = 0;',
      'intr = ^C; quit = ^\\; erase = ^?; eol = <undef>; kill = M-^U; start = x; min = 1; time = 0;',
      '-parenb cs8 -cread',
      'ixon -ixoff -iuclc -imaxbel',
      'opost -echoprt echoctl -flusho',
    ].join('\n')
    assert.equal(
      sttyArguments(modesOf(linux)).join(' '),
      'ispeed 38400 ospeed 38400 intr 0x3 quit 0x1c erase 0x7f eol undef kill 0x95 start 0x78 -parenb cs8 ixon -ixoff -imaxbel opost echoctl',
    )
  })

  it('is read as a BSD prints it too', () => {
    const bsd = [
      'speed 9600 baud; 24 rows; 80 columns;',
      'lflags: icanon -echo',
      'iflags: -istrip',
      'cchars: discard = ^O; dsusp = ^Y; reprint = ^R;',
      '\tstatus = ^T;',
    ].join('\n')
    assert.equal(
      sttyArguments(modesOf(bsd)).join(' '),
      'ispeed 9600 ospeed 9600 discard 0xf rprnt 0x12 icanon -echo -istrip',
    )
  })

  it('may be nothing', () => {
    assert.deepEqual(modesOf(''), Buffer.from(END))
  })
})
