// A terminal's replay on a clock of its own: when each thing is shown, and what keys do to that. Keys come from a stream as a terminal
// sends them, in the order and at the times a script says.

import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { PassThrough } from 'node:stream'
import { test } from 'node:test'

import { FakeClock } from '../../core/clock.ts'
import { packEvents, type RecordingEvent } from '../../core/recording/events.ts'
import { writeChunk, writeHead } from '../../core/recording/format.ts'
import { KeyParser, openKeys } from '../keys.ts'
import type { Speed } from './pace.ts'
import { Player } from './player.ts'
import { type Bytes, RecordingReader, Rereadable } from './read.ts'

const AT = Date.UTC(2026, 10, 20, 12, 0, 0)
const LEFT = '\u{1b}[D'
const RIGHT = '\u{1b}OC'

const LETTERS = ['a', 'b', 'c', 'd', 'e']

/** `a` at once, then a letter every five seconds, `e` after 20. */
const EVENTS: readonly RecordingEvent[] = [
  { kind: 'start', atMs: AT, fields: {} },
  { kind: 'resize', atMs: AT, columns: 132, rows: 43 },
  ...LETTERS.map((letter, index) => ({
    kind: 'print' as const,
    atMs: AT + index * 5000,
    bytes: Buffer.from(letter),
  })),
  { kind: 'end', atMs: AT + 20_000, reason: 'closed' },
]

function recorded(events: readonly RecordingEvent[]): readonly Uint8Array[] {
  const sid = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'
  const head = writeHead({ sid, kind: 'ssh', cluster: 'c', serverId: 'a', startedAtMs: AT })
  let { position } = head
  const chunks = events.map((event) => {
    const { startMs, packed } = packEvents([event])
    const chunk = writeChunk(position, event.kind === 'end' ? 'end' : 'events', startMs, packed)
    position = chunk.position
    return chunk.bytes
  })
  return [head.bytes, ...chunks]
}

/** Time moves only where the player waits; keys are typed when it gets there. */
class World {
  readonly clock = new FakeClock()
  /** `[when it came, text]` */
  readonly shown: [number, string][] = []
  readonly input = new PassThrough()
  readonly modes: boolean[] = []
  opened = 0
  readonly #script: [number, string][]

  constructor(script: readonly (readonly [number, string])[] = []) {
    this.#script = script.map(([atMs, keys]) => [atMs, keys])
  }

  get letters(): readonly (readonly [number, string])[] {
    return this.shown.flatMap(([atMs, text]) => {
      const letter = /^[abcde\u{1b}]c?$/u.exec(text)?.[0]
      return letter === undefined ? [] : [[atMs, letter]]
    })
  }

  async play(
    over: { speed?: Speed; skipIdle?: boolean; source?: () => Bytes } = {},
  ): Promise<void> {
    const { speed = '1x', skipIdle = false } = over
    const source = new Rereadable(over.source ?? (() => this.#open()))
    const stdin = Object.assign(this.input, {
      isTTY: true,
      setRawMode: (on: boolean) => this.modes.push(on),
    })
    const player = new Player({
      open: () => new RecordingReader(source.pass()),
      pace: { speed, skipIdle },
      clock: this.clock,
      keys: (pressed) => openKeys(stdin, pressed),
      sleep: (ms, signal) => this.#sleep(ms, signal),
      out: (text) => Promise.resolve(void this.shown.push([this.clock.monotonic(), text])),
    })
    await player.play()
  }

  async *#open(): Bytes {
    this.opened++
    yield* recorded(EVENTS)
  }

  async #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const untilMs = this.clock.monotonic() + ms
    const [next] = this.#script
    if (next === undefined || next[0] > untilMs) {
      if (ms === 60_000) throw new Error('the player waits for a key that nobody presses')
      this.clock.advance(ms)
      return
    }
    this.#script.shift()
    this.clock.advance(Math.max(0, next[0] - this.clock.monotonic()))
    const pressed = new Promise((resolve) => signal.addEventListener('abort', resolve))
    if (next[1] === '') this.input.end()
    else this.input.write(next[1])
    await pressed
  }
}

test('each thing is shown when it was, at each speed, without silences when asked', async () => {
  const times: readonly [Speed, boolean, number][] = [
    ['1x', false, 5000],
    ['0.5x', false, 10_000],
    ['2x', false, 2500],
    ['8x', false, 625],
    ['1x', true, 500],
    ['2x', true, 250],
  ]
  for (const [speed, skipIdle, stepMs] of times) {
    const world = new World()
    await world.play({ speed, skipIdle })
    const expected = LETTERS.map((letter, index) => [index * stepMs, letter])
    deepEqual(world.letters, expected)
    match(world.shown.at(-1)?.[1] ?? '', /session ends: closed/)
    equal(world.opened, 1)
  }
})

test('a terminal is asked for the recorded size, and gets its own mode back', async () => {
  const world = new World()
  await world.play()
  ok(world.shown.some(([, text]) => text === '\u{1b}[8;43;132t'))
  deepEqual(world.modes, [true, false])
  equal(world.input.listenerCount('data'), 0)
})

test('space holds it and lets it go on where it stood', async () => {
  const world = new World([
    [7000, ' '],
    [30_000, ' '],
  ])
  await world.play()
  deepEqual(world.letters, [
    [0, 'a'],
    [5000, 'b'],
    [33_000, 'c'],
    [38_000, 'd'],
    [43_000, 'e'],
  ])
})

test('+ and - change the speed from where it stands, within the speeds there are', async () => {
  const world = new World([
    [1000, '+'],
    [2000, '---------'],
  ])
  await world.play()
  // One second at 1x, one at 2x: two are left of the five, at half the speed.
  deepEqual(world.letters.slice(0, 3), [
    [0, 'a'],
    [6000, 'b'],
    [16_000, 'c'],
  ])
})

test('→ goes ten seconds on and shows what lies between', async () => {
  const world = new World([[1000, RIGHT]])
  await world.play()
  deepEqual(world.letters, [
    [0, 'a'],
    [1000, 'b'],
    [1000, 'c'],
    [5000, 'd'],
    [10_000, 'e'],
  ])
})

test('← clears and shows again what led there, also while it is held, from what is remembered', async () => {
  const world = new World([
    [17_000, LEFT],
    [18_000, ' '],
    [19_000, LEFT],
    [20_000, ' '],
  ])
  await world.play()
  deepEqual(world.letters, [
    [0, 'a'],
    [5000, 'b'],
    [10_000, 'c'],
    [15_000, 'd'],
    // At seven seconds, then at eight held, then at the beginning held.
    [17_000, '\u{1b}c'],
    [17_000, 'a'],
    [17_000, 'b'],
    [19_000, '\u{1b}c'],
    [19_000, 'a'],
    [25_000, 'b'],
    [30_000, 'c'],
    [35_000, 'd'],
    [40_000, 'e'],
  ])
  equal(world.opened, 1)
})

test('q, Ctrl-C and the end of input stop it, and leave a terminal that can be used', async () => {
  for (const key of ['q', '\u{3}', '']) {
    const world = new World([[7000, key]])
    await world.play()
    deepEqual(world.letters.at(-1), [5000, 'b'])
    deepEqual(world.shown.at(-1), [7000, '\u{1b}[?1047l\u{1b}[!p\u{1b}[0m\r\n'])
    deepEqual(world.modes, [true, false])
  }
})

test('q does not wait for a source that stands still', async () => {
  const world = new World()
  const [head, start, resize] = recorded(EVENTS)
  const source = async function* (): Bytes {
    for (const piece of [head, start, resize]) yield piece ?? Buffer.alloc(0)
    world.input.write('q')
    await new Promise(() => {})
  }
  await world.play({ source })
  deepEqual(world.modes, [true, false])
})

test('keys are known in pieces and in runs, and what is none is nothing', () => {
  const parser = new KeyParser()
  const typed = (text: string): readonly string[] => parser.push(Buffer.from(text, 'latin1'))
  deepEqual(typed(`${LEFT}${RIGHT} +-=q`), [
    'left',
    'right',
    'space',
    'plus',
    'minus',
    'plus',
    'quit',
  ])
  deepEqual([typed('\u{1b}'), typed('['), typed('1;5'), typed('C')], [[], [], [], ['right']])
  deepEqual(typed('\u{1b}[A\u{1b}[5~xyz\u{1b}[\u{1b}[D'), ['left'])
  deepEqual(typed(`\u{1b}[${'1'.repeat(100)}`), [])
})

test('a source is remembered while it is small, and opened anew when it is not', async () => {
  for (const [bytesMax, opens] of [
    [100, 1],
    [5, 3],
  ] as const) {
    let opened = 0
    const source = new Rereadable(async function* () {
      opened++
      for (const text of ['abc', 'def', 'ghi']) yield Buffer.from(text)
    }, bytesMax)
    for (const take of [2, 3, 3]) {
      let text = ''
      for await (const piece of source.pass()) {
        text += Buffer.from(piece).toString()
        if (text.length === take * 3) break
      }
      equal(text, 'abcdefghi'.slice(0, take * 3))
    }
    equal(opened, opens)
  }
})
