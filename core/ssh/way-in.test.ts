import assert from 'node:assert/strict'
import { test } from 'node:test'

import { max } from '../limits.ts'
import { readWanted, readWayInAnswer, writeWanted, writeWayInAnswer } from './way-in.ts'

test('the wanted node is read at every cut, and what follows is left alone', () => {
  const bytes = Buffer.concat([writeWanted('web-1.example.com'), Buffer.from('SSH-2.0-x\r\n')])
  for (let cut = 0; cut < 23; cut++)
    assert.equal(readWanted(bytes.subarray(0, cut)).verdict, 'more', `cut at ${cut}`)
  for (let cut = 23; cut <= bytes.length; cut++)
    assert.deepEqual(readWanted(bytes.subarray(0, cut)), {
      verdict: 'line',
      value: 'web-1.example.com',
      end: 23,
    })
})

test('a name that is none is refused, whichever way it is none', () => {
  for (const line of ['node \n', 'node a b\n', 'node a\u0000\n', 'nodes a\n', '\n', 'SSH-2.0-x\n'])
    assert.equal(readWanted(Buffer.from(line)).verdict, 'bad', JSON.stringify(line))
  const long = 'x'.repeat(max('nameLengthMax') + 1)
  assert.equal(readWanted(Buffer.from(`node ${long}\n`)).verdict, 'bad')
  assert.throws(() => writeWanted(long))
})

test('a line that never ends is refused at its bound', () => {
  const endless = Buffer.alloc(max('sshWayInLineBytesMax'), 'x')
  assert.equal(readWanted(endless).verdict, 'bad')
  assert.equal(readWayInAnswer(endless).verdict, 'bad')
})

test('an answer is one line, whatever its sentence holds', () => {
  assert.deepEqual(readWayInAnswer(writeWayInAnswer({ open: true })), {
    verdict: 'line',
    value: { open: true },
    end: 3,
  })
  const sentence = `no such\nnode${'!'.repeat(9999)}`
  for (const away of [false, true]) {
    const written = writeWayInAnswer({ open: false, away, sentence })
    assert.match(Buffer.from(written).toString(), away ? /^away no such/ : /^no no such/)
    const reading = readWayInAnswer(written)
    assert.ok(reading.verdict === 'line' && !reading.value.open)
    assert.equal(reading.value.away, away)
    assert.match(reading.value.sentence, /^no such node!+$/)
    assert.equal(reading.end, written.length)
  }
})
