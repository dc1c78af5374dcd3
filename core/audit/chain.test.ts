// The record format, stated without the code that makes it, and the lines it is cut into.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { describe, it } from 'node:test'
import { canonicalJson } from '../cert/canonical.ts'
import { max } from '../limits.ts'
import {
  CHAIN_BYTES_MAX,
  follows,
  genesis,
  isIntact,
  nextLine,
  positionOf,
  readLine,
  recordObject,
} from './chain.ts'
import { auditEvent } from './event.ts'
import { type Line, LineCutter } from './lines.ts'

const EVENT = auditEvent(
  'user.login',
  'T1000I',
  { user: 'alice' },
  { uid: 'u-1', timeMs: 0, cluster: 'c' },
)
// Written out, so that the format is stated once without the code that makes it.
const BODY =
  '{"cluster_name":"c","code":"T1000I","ei":0,"event":"user.login",' +
  '"time":"1970-01-01T00:00:00.000Z","uid":"u-1","user":"alice"}'

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex')

describe('a chain record', () => {
  it('is one line whose hash covers writer, number, the hash before and the content', () => {
    const start = genesis('control-1')
    const first = sha256('sluice-audit-1\ncontrol-1')
    assert.deepEqual(start, { writer: 'control-1', seq: 0, hash: first })
    const { line, position } = nextLine(start, canonicalJson(EVENT))
    const hash = sha256(`sluice-audit-1\ncontrol-1\n1\n${first}\n${BODY}`)
    const head = `{"seq":1,"writer":"control-1","prev":"${first}",`
    assert.equal(line, `${head}${BODY.slice(1, -1)},"hash":"${hash}"}`)
    assert.deepEqual(position, { writer: 'control-1', seq: 1, hash })
  })

  it('is read back as it was written, and follows only the record before it', () => {
    const start = genesis('host/12')
    const { line, position } = nextLine(start, canonicalJson(EVENT))
    const record = readLine(line)
    assert.ok(record !== undefined && isIntact(record))
    assert.deepEqual(record.event, EVENT)
    assert.deepEqual(positionOf(record), position)
    assert.ok(follows(start, record))
    assert.ok(!follows(position, record))
    assert.ok(!follows({ ...start, writer: 'host/13' }, record))
    assert.ok(!follows({ ...start, hash: position.hash }, record))
    assert.equal(recordObject(record)['user'], 'alice')
  })

  it('has one text only: any other spelling of the same fields is no record', () => {
    const { line } = nextLine(genesis('w'), canonicalJson(EVENT))
    const others = [
      ` ${line}`,
      line.replace('"ei":0', '"ei": 0'),
      line.replace('"ei":0', '"ei":0.0'),
      line.replace('"ei":0', '"ei":-0'),
      line.replace('"alice"', '"\\u0061lice"'),
      line.replace('"user":"alice"', '"user":"mallory","user":"alice"'),
      line.replace('"user":"alice"', '"user":null'),
      line.replace('"code":"T1000I","ei":0', '"ei":0,"code":"T1000I"'),
      line.replace('"seq":1', '"seq":1.0'),
      line.slice(0, -1),
      '',
      '{}',
      '[]',
      'null',
      `${'['.repeat(60_000)}`,
      `{"a":${'['.repeat(30_000)}${']'.repeat(30_000)}}`,
      `"${'x'.repeat(max('auditEventBytesMax') + 2000)}"`,
    ]
    for (const other of others) assert.equal(readLine(other), undefined, other.slice(0, 100))
  })

  it('is not read when it is longer than any that is written', () => {
    const long = { ...EVENT, error: 'x'.repeat(max('auditEventBytesMax') + CHAIN_BYTES_MAX) }
    assert.equal(readLine(nextLine(genesis('w'), canonicalJson(long)).line), undefined)
  })

  it('shows a changed byte of its content', () => {
    const { line } = nextLine(genesis('w'), canonicalJson(EVENT))
    const record = readLine(line.replace('alice', 'alicf'))
    assert.ok(record !== undefined && !isIntact(record))
  })

  it('refuses a writer whose name could be mistaken for another', () => {
    for (const writer of ['', 'a b', 'a\nb', 'a/b', '../a', 'x'.repeat(200)]) {
      assert.throws(() => genesis(writer), TypeError)
    }
  })
})

describe('the line cutter', () => {
  const bytes = Buffer.from('one\n\nzwölf\nrest')
  const lines: Line[] = [
    { text: 'one', number: 1, offset: 0, end: 4 },
    { text: '', number: 2, offset: 4, end: 5 },
    { text: 'zwölf', number: 3, offset: 5, end: 12 },
  ]

  it('finds the same lines however the bytes are split', () => {
    for (let cut = 0; cut <= bytes.length; cut += 1) {
      for (let second = cut; second <= bytes.length; second += 1) {
        const cutter = new LineCutter()
        const parts = [bytes.subarray(0, cut), bytes.subarray(cut, second), bytes.subarray(second)]
        assert.deepEqual(
          parts.flatMap((part) => [...cutter.push(part)]),
          lines,
        )
        assert.deepEqual(cutter.rest(), { text: 'rest', number: 4, offset: 12, end: 16 })
        assert.equal(cutter.rest(), undefined)
      }
    }
  })

  it('keeps nothing of a chunk whose memory is used again', () => {
    const cutter = new LineCutter()
    const chunk = Buffer.from('one\ntw')
    const first = [...cutter.push(chunk)]
    chunk.fill('x')
    assert.deepEqual(
      [...first, ...cutter.push(Buffer.from('o\n'))].map(({ text }) => text),
      ['one', 'two'],
    )
  })

  it('gives up the text of a line that is too long or not UTF-8, but not its place', () => {
    const cutter = new LineCutter(100, 7)
    const long = 70_000
    const found = [
      ...cutter.push(Buffer.alloc(long, 'x')),
      ...cutter.push(Buffer.from('x\n\xff\nok\n', 'latin1')),
    ]
    assert.deepEqual(found, [
      { text: undefined, number: 7, offset: 100, end: 100 + long + 2 },
      { text: undefined, number: 8, offset: 100 + long + 2, end: 100 + long + 4 },
      { text: 'ok', number: 9, offset: 100 + long + 4, end: 100 + long + 7 },
    ])
  })
})
