// What is read on the way to SSH and behind it: the line before it at a proxy, what the proxy answers, and the messages between an agent,
// its launcher and the helpers of logins, of which one end is root.

import assert from 'node:assert/strict'

import type { z } from 'zod'

import { max } from '../../../core/limits.ts'
import {
  readWanted,
  readWayInAnswer,
  type WayInReading,
  writeWanted,
  writeWayInAnswer,
} from '../../../core/ssh/way-in.ts'
import {
  helperAnswer,
  helperRequest,
  launchAnswer,
  launchOrder,
  launchRequest,
  terminalAnswer,
  terminalOrder,
  terminalRequest,
} from '../../../workers/launch-wire.ts'
import type { Codec } from '../engine.ts'

/** The line is known as soon as its last byte is there, whatever follows; a wrong one is never waited for without end. */
function lineOf<T>(
  bytes: Uint8Array,
  read: (bytes: Uint8Array) => WayInReading<T>,
): WayInReading<T> {
  const reading = read(bytes)
  if (reading.verdict === 'more') assert.ok(bytes.length < max('sshWayInLineBytesMax'))
  if (reading.verdict === 'line') {
    const { end } = reading
    assert.ok(end > 0 && end <= bytes.length && end <= max('sshWayInLineBytesMax'))
    assert.equal(bytes[end - 1], 0x0a)
    assert.equal(read(bytes.subarray(0, end - 1)).verdict, 'more')
    assert.deepEqual(read(bytes.subarray(0, end)), reading)
  }
  return reading
}

const wanted: Codec = {
  name: 'ssh-way-in',
  seeds: () =>
    ['node web-1\nSSH-2.0-x\r\n', 'node web-1.example.com\n', 'node \n', 'node a b\n', 'ok\n'].map(
      (text) => Buffer.from(text),
    ),
  check(bytes, cuts) {
    const reading = lineOf(bytes, readWanted)
    for (const cut of cuts) settled(readWanted(bytes.subarray(0, cut)), reading)
    if (reading.verdict !== 'line') return reading.verdict
    // What is taken for a name can be written, and comes to itself.
    const again = readWanted(writeWanted(reading.value))
    assert.ok(again.verdict === 'line' && again.value === reading.value)
    assert.ok(reading.value.length <= max('nameLengthMax'))
    return 'a name'
  },
}

const answered: Codec = {
  name: 'ssh-way-in-answer',
  seeds: () =>
    ['ok\nSSH-2.0-x\r\n', 'no such node. Ask.\n', 'no \u001b[2J\n', 'away for now\n', 'okay\n'].map(
      (text) => Buffer.from(text),
    ),
  check(bytes, cuts) {
    const reading = lineOf(bytes, readWayInAnswer)
    for (const cut of cuts) settled(readWayInAnswer(bytes.subarray(0, cut)), reading)
    if (reading.verdict !== 'line') return reading.verdict
    if (reading.value.open) return 'open'
    // Whatever sentence is answered stays one line that its reader takes.
    const again = readWayInAnswer(writeWayInAnswer(reading.value))
    assert.ok(again.verdict === 'line' && !again.value.open)
    assert.equal(again.value.away, reading.value.away)
    return reading.value.away ? 'away' : 'closed'
  },
}

/** A prefix either waits for more or has said already what the whole says. */
function settled<T>(part: WayInReading<T>, whole: WayInReading<T>): void {
  if (part.verdict !== 'more') assert.deepEqual(part, whole)
}

const END = { host: '192.0.2.1', port: 22 }
const ASK = {
  certificate: 'AAAA',
  login: 'app',
  client: END,
  server: END,
  node: { name: 'web-1', agentId: 'a', labels: { env: 'test' } },
  proxy: { id: 'p', permit: 'AAAA' },
  sessionId: 's',
  webProxy: '',
}
const SIZE = { columns: 80, rows: 24, width: 0, height: 0 }
const KEY = 'k'.repeat(32)

const FORMS: readonly (readonly [string, z.ZodType<{ readonly kind: string }>])[] = [
  ['launch', launchRequest],
  ['order', launchOrder],
  ['answer', launchAnswer],
  ['helper', helperRequest],
  ['helped', helperAnswer],
  ['terminal', terminalRequest],
  ['resize', terminalOrder],
  ['opened', terminalAnswer],
]

const MESSAGES: readonly object[] = [
  {
    kind: 'program',
    ask: ASK,
    program: { kind: 'exec', command: 'aWQ=' },
    env: { LANG: 'C' },
    terminal: { path: '/dev/pts/1', term: 'xterm' },
  },
  { kind: 'helper', ask: ASK },
  { kind: 'trust', signers: ['AAAA'] },
  { kind: 'signal', name: 'TERM' },
  { kind: 'exit', exit: { kind: 'signal', name: 'KILL', core: false, text: '' } },
  { kind: 'connect', to: { kind: 'unix', path: '/run/x' } },
  { kind: 'x11', protocol: 'MIT-MAGIC-COOKIE-1', cookie: '00ff', screen: 0 },
  { kind: 'accepted', key: KEY, from: END },
  { kind: 'open', size: SIZE, modes: 'AA==' },
  { kind: 'resize', size: SIZE },
  { kind: 'terminal', path: '/dev/pts/1', key: KEY },
]

const launch: Codec = {
  name: 'launch-messages',
  seeds: () => MESSAGES.map((message) => Buffer.from(JSON.stringify(message))),
  check(bytes) {
    const value = parsed(bytes)
    if (value === undefined) return 'no JSON'
    const taken = FORMS.flatMap(([name, form]) => {
      const read = form.safeParse(value)
      if (!read.success) return []
      // Nothing passes that was not stated: a field more, or one of a prototype, is another message.
      assert.ok(typeof value === 'object' && value !== null)
      assert.deepEqual(Object.keys(read.data).sort(), Object.keys(value).sort())
      assert.equal(Object.getPrototypeOf(read.data), Object.prototype)
      return [`${name} ${read.data.kind}`]
    })
    return taken.length === 0 ? 'another form' : taken.join(', ')
  },
}

function parsed(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    return undefined
  }
}

export const sshWayCodecs: readonly Codec[] = [wanted, answered, launch]
