// What passes the filter of a replayed terminal, wherever the bytes are cut, and that nothing which passes makes a terminal answer.

import assert from 'node:assert/strict'
import { it } from 'node:test'
import fc from 'fast-check'

import { TerminalFilter } from './terminal-filter.ts'

function filtered(text: string | Uint8Array, step = Number.POSITIVE_INFINITY): string {
  const bytes = Buffer.from(text)
  const filter = new TerminalFilter()
  const parts: Uint8Array[] = []
  for (let at = 0; at < bytes.length; at += Math.min(step, bytes.length))
    parts.push(filter.push(bytes.subarray(at, at + step)))
  return Buffer.concat(parts).toString('utf8')
}

const PASSES = [
  'plain text, tab\t and line\r\n',
  'Grüße, 世界, 🚀, ¢ and µ',
  '\x1b[1;31mred\x1b[0m \x1b[38;5;12m \x1b[38:2::1:2:3m',
  '\x1b[2J\x1b[H\x1b[10;20H\x1b[K\x1b[?1049h\x1b[?25l\x1b[?25h\x1b[?1049l',
  '\x1b7\x1b8\x1bM\x1b(0lqk\x1b(B\x1b#8\x1b[4 q\x1b[!p',
]

const NEVER = [
  ['\x1b]0;title\x07', 'title by OSC'],
  ['\x1b]52;c;bWFsaWNl\x1b\\', 'clipboard'],
  ['\x1bP$q"p\x1b\\', 'DCS'],
  ['\x1b_Gi=1;AAAA\x1b\\', 'APC'],
  ['\x1b^secret\x1b\\', 'PM'],
  ['\x1bXsecret\x1b\\', 'SOS'],
  ['\x9d0;title\x07', 'OSC as one byte'],
  ['\u{9d}0;title\u{9c}\x07', 'OSC as a character'],
  ['\x05', 'answer-back'],
  ['\x1bZ', 'identify'],
  ['\x1b[c\x1b[>c\x1b[=c\x1b[0c', 'device attributes'],
  ['\x1b[5n\x1b[6n\x1b[?6n', 'status reports'],
  ['\x1b[18t\x1b[21t\x1b[22;2t', 'window reports'],
  ['\x1b[?1$p\x1b[x\x1b[>q\x1b[?u\x1b[>1u\x1b[1;1;1;1;1;1*y', 'other queries'],
  ['\x1b[5i\x1b[4i', 'printer'],
  ['\x1b[?1000h\x1b[?1003;25h\x1b[?1004h\x1b[?2004h', 'input reports'],
  ['\x1b[>4;2m', 'keyboard'],
  ['\u{9b}6n', 'a report in eight bits'],
] as const

it('text, colours and movements pass, wherever they are cut', () => {
  for (const text of PASSES)
    for (const step of [1, 2, 3, 100]) assert.equal(filtered(text, step), text)
})

it('what makes a terminal answer or act does not, and the text around it does', () => {
  for (const [text, what] of NEVER)
    for (const step of [1, 2, 3, 100]) {
      const bytes = text.startsWith('\x9d')
        ? Buffer.from(`a${text}b`, 'latin1')
        : Buffer.from(`a${text}b`)
      assert.equal(filtered(bytes, step), 'ab', what)
    }
})

it('a sequence that is cut off by another, or never ends, takes nothing with it but itself', () => {
  assert.equal(filtered('\x1b]0;title\x1b[1mbold'), '\x1b[1mbold')
  assert.equal(filtered(`\x1b[${'1;'.repeat(500)}mafter`), 'after')
  assert.equal(filtered(`a\x1b]${'x'.repeat(10_000)}`), 'a')
  assert.equal(filtered('\x1b\x1b[1mx'), '\x1b[1mx')
})

it('whatever comes in: the same at every cut, filtering again changes nothing, and no string or query is left', () => {
  const byte = fc.oneof(
    fc.integer({ min: 0, max: 255 }),
    fc.constantFrom(...Buffer.from('\x1b\x1b[]P?;0189cnthmZ\\ \x07'), 0x9b, 0x9d, 0x90, 0xc2, 0xe2),
  )
  fc.assert(
    fc.property(fc.array(byte, { maxLength: 60 }), fc.integer({ min: 1, max: 5 }), (raw, step) => {
      const bytes = Uint8Array.from(raw)
      const whole = Buffer.from(new TerminalFilter().push(bytes))
      const filter = new TerminalFilter()
      const parts: Uint8Array[] = []
      for (let at = 0; at < bytes.length; at += step)
        parts.push(filter.push(bytes.subarray(at, at + step)))
      assert.deepEqual(Buffer.concat(parts), whole)
      assert.deepEqual(Buffer.from(new TerminalFilter().push(whole)), whole)
      const text = whole.toString('latin1')
      assert.doesNotMatch(text, /\x1b[\]PX^_Z]|\x05|\x1b\[[^@-~]*[cntxyi]/)
      assert.doesNotMatch(whole.toString('utf8'), /[\u{80}-\u{9f}]/u)
    }),
    { numRuns: 3000 },
  )
})
