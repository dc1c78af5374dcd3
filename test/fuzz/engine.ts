// The fuzzer: inputs near a codec's grammar, tried until a time is over, with fast-check, which shrinks what fails. A codec says
// of any bytes, cut anywhere, what they came to; a word it says for the first time makes the input worth keeping.
// The corpus (test/fuzz/corpus) is tried before anything new. It never touches the network and starts no process.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

import fc from 'fast-check'

export interface Codec {
  readonly name: string
  /** Bytes that mean something to it: what is tried is made from these. */
  seeds(): readonly Uint8Array[]
  /**
   * Tries the bytes whole and cut at these places, and asserts that both come to the same, that nothing is thrown but what the
   * codec declares, and that nothing is kept past its limits. Returns in a word what came of it.
   */
  check(bytes: Uint8Array, cuts: readonly number[]): string
}

export interface Case {
  readonly bytes: Uint8Array
  readonly cuts: readonly number[]
}

export interface Finding {
  readonly word: string
  readonly found: Case
}

/** The word of a kept input that failed. */
export const FAILED = 'failed'

/** One try may cost this much: far over what any costs, and far under what believing an announced length would. */
const BUFFERS_MAX = 64 * 1024 * 1024
const CPU_MS_MAX = 3_000
const CORPUS = join(import.meta.dirname, 'corpus')
/** Longer inputs are not kept: a checkout is no place for them. */
const KEPT_BYTES_MAX = 2_048
const KEPT_CASES_MAX = 20

/** Tries one input, and holds it to what a try may cost. */
export function attempt(codec: Codec, { bytes, cuts }: Case): string {
  const before = process.memoryUsage().arrayBuffers
  const cpu = process.cpuUsage()
  const word = codec.check(bytes, cuts)
  const spent = process.cpuUsage(cpu)
  const grown = process.memoryUsage().arrayBuffers - before
  assert.ok(grown < BUFFERS_MAX, `${codec.name}: ${grown} bytes of buffers for ${bytes.length}`)
  const ms = (spent.user + spent.system) / 1000
  assert.ok(ms < CPU_MS_MAX, `${codec.name}: ${ms} ms for ${bytes.length} bytes`)
  return word
}

export interface FuzzOptions {
  readonly budgetMs: number
  readonly seed: number
  /** Told of each input whose word is new. */
  readonly onNew?: (finding: Finding) => void
  /** Told of each input that failed; the last is the shortest. */
  readonly onFailure?: (found: Case) => void
}

export interface FuzzResult {
  readonly runs: number
  readonly words: ReadonlySet<string>
}

/** Tries the corpus, then what can be made of it, until the time is over. Throws fast-check's report, with seed and path. */
export function fuzz(codec: Codec, options: FuzzOptions): FuzzResult {
  const words = new Set<string>()
  const seeds = [...codec.seeds(), ...corpusOf(codec.name).map(({ bytes }) => bytes)]
  for (const found of corpusOf(codec.name)) words.add(attempt(codec, found))
  for (const bytes of codec.seeds()) words.add(attempt(codec, { bytes, cuts: [1] }))
  let runs = 0
  const property = fc.property(cases(seeds), (found) => {
    runs++
    const word = watched(codec, found, options.onFailure)
    if (words.has(word)) return
    words.add(word)
    options.onNew?.({ word, found })
  })
  fc.assert(property, {
    seed: options.seed,
    numRuns: Number.MAX_SAFE_INTEGER,
    plugins: [fc.interruptAfterTimeLimit(options.budgetMs)],
    includeErrorInReport: true,
  })
  return { runs, words }
}

function watched(codec: Codec, found: Case, onFailure: FuzzOptions['onFailure']): string {
  try {
    return attempt(codec, found)
  } catch (error) {
    onFailure?.(found)
    throw error
  }
}

/** Numbers that lengths, counts and times go wrong at. */
const NUMBERS = [
  0, 1, 3, 4, 5, 0x7f, 0x80, 0xff, 0x7fff, 0xffff, 0x7fffffff, 0x80000000, 0xffffffff,
]

interface Change {
  readonly kind:
    | 'set'
    | 'flip'
    | 'number'
    | 'insert'
    | 'remove'
    | 'repeat'
    | 'cut'
    | 'splice'
    | 'pad'
  readonly at: number
  readonly count: number
  readonly value: number
  readonly bytes: Uint8Array
}

function cases(seeds: readonly Uint8Array[]): fc.Arbitrary<Case> {
  const change: fc.Arbitrary<Change> = fc.record({
    kind: fc.constantFrom(
      'set',
      'flip',
      'number',
      'insert',
      'remove',
      'repeat',
      'cut',
      'splice',
      'pad',
    ),
    at: fc.nat(),
    count: fc.integer({ min: 1, max: 40 }),
    value: fc.constantFrom(...NUMBERS),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
  })
  const near = fc
    .tuple(fc.nat(seeds.length - 1), fc.nat(seeds.length - 1), fc.array(change, { maxLength: 6 }))
    .map(([first, second, changes]) =>
      changes.reduce<Uint8Array>(
        (bytes, each) => changed(bytes, each, seeds[second] ?? bytes),
        seeds[first] ?? new Uint8Array(0),
      ),
    )
  const bytes = fc.oneof({ weight: 9, arbitrary: near }, fc.uint8Array({ maxLength: 300 }))
  return fc.record({ bytes, cuts: fc.array(fc.nat(4096), { maxLength: 6 }) })
}

function changed(bytes: Uint8Array, change: Change, other: Uint8Array): Uint8Array {
  const at = change.at % (bytes.length + 1)
  const [head, tail] = [bytes.subarray(0, at), bytes.subarray(at)]
  switch (change.kind) {
    case 'set':
      return Buffer.concat([head, change.bytes, tail.subarray(change.bytes.length)])
    case 'flip':
      return Buffer.concat([
        head,
        tail.map((byte, i) => (i === 0 ? byte ^ (1 << (change.count % 8)) : byte)),
      ])
    case 'number': {
      const width = ([1, 2, 4] as const)[change.count % 3] ?? 4
      const number = Buffer.alloc(4)
      number.writeUInt32BE(change.value)
      return Buffer.concat([head, number.subarray(4 - width), tail.subarray(width)])
    }
    case 'insert':
      return Buffer.concat([head, change.bytes, tail])
    case 'remove':
      return Buffer.concat([head, tail.subarray(change.count)])
    case 'repeat':
      return Buffer.concat([head, tail.subarray(0, change.count), tail])
    case 'cut':
      return head
    case 'pad':
      return Buffer.concat([head, Buffer.alloc(64 * change.count, change.value & 0xff), tail])
    case 'splice':
      return Buffer.concat([head, other.subarray(change.count % (other.length + 1))])
  }
}

/** The pieces of some bytes, cut at these places. */
export function pieces(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length]
  edges.sort((a, b) => a - b)
  return edges.slice(1).map((to, index) => bytes.subarray(edges[index], to))
}

/** Beginnings of some bytes: what a reader has seen when each piece came. */
export function beginnings(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length]
  return ends.sort((a, b) => a - b).map((end) => bytes.subarray(0, end))
}

/** Kept inputs of a codec, in the order of their names. */
export function corpusOf(name: string): Case[] {
  const folder = join(CORPUS, name)
  if (!existsSync(folder)) return []
  return readdirSync(folder)
    .sort()
    .map((file) => parseCase(readFileSync(join(folder, file), 'utf8')))
}

/** Keeps an input: its word, its cuts, its bytes in hexadecimal. False when it is too long, known, or one of too many. */
export function keep(name: string, { word, found }: Finding): boolean {
  if (found.bytes.length > KEPT_BYTES_MAX) return false
  const hex = Buffer.from(found.bytes).toString('hex')
  const text = [`# ${word}`, `cuts ${found.cuts.join(' ')}`.trimEnd(), ...lines(hex), ''].join('\n')
  const folder = join(CORPUS, name)
  mkdirSync(folder, { recursive: true })
  if (word !== FAILED && readdirSync(folder).length >= KEPT_CASES_MAX) return false
  const file = join(folder, `${createHash('sha256').update(text).digest('hex').slice(0, 16)}.txt`)
  if (existsSync(file)) return false
  writeFileSync(file, text)
  return true
}

function lines(hex: string): readonly string[] {
  return hex.match(/.{1,128}/g) ?? []
}

function parseCase(text: string): Case {
  const rows = text.split('\n').filter((row) => !row.startsWith('#'))
  const cuts = (rows[0] ?? '').split(' ').slice(1).map(Number)
  return { bytes: Buffer.from(rows.slice(1).join(''), 'hex'), cuts }
}
