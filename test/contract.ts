// The suite that every row of the registry passes: the clauses of core/protocol.ts, run over scripts of typical sessions that
// the protocol supplies. Clauses that hold at every call are asserted by fake/rig.ts; those over whole sessions are here.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'

import type {
  FramedProtocol,
  FramedSession,
  Protocol,
  Recognition,
  Refusal,
} from '../core/protocol.ts'
import { Rig, type Step } from './fake/rig.ts'

/** A session of typical traffic, with every event a performer would add. */
export interface Script {
  readonly name: string
  readonly steps: readonly Step[]
  /** Makes the client's half, or an agent half that is told of one login. */
  open(): FramedSession
}

export interface FramedScripts {
  /** First bytes and what they are; each shorter beginning of them must be `more`, unless it is listed too. */
  readonly firsts: readonly {
    readonly bytes: Uint8Array
    readonly verdict: Recognition['verdict']
  }[]
  readonly sessions: readonly Script[]
  readonly agents: readonly Script[]
  /** True when the client prints the decision's id after these bytes: they end with a whole message that says it. */
  readonly heard: (written: Buffer, decisionId: string) => boolean
}

/** Splits tried per step: all of them in short steps, evenly spread ones in long steps. */
const SPLITS_MAX = 160
const FLOOD_BYTES = 8 * 1024 * 1024
const HELD_BYTES_MAX = 2 * 1024 * 1024
const FUZZ_RUNS = 150

const KINDS: readonly Refusal['kind'][] = [
  'policy',
  'lock',
  'limit',
  'expired',
  'unavailable',
  'identity',
]

export function refusalOf(kind: Refusal['kind'], reason: string = 'a reason'): Refusal {
  return { decisionId: `01J${kind.toUpperCase()}`, kind, reason, next: 'what to do next' }
}

/** Registers the tests of a framed protocol. */
export function framedSuite(protocol: FramedProtocol, scripts: FramedScripts): void {
  recognitionSuite(protocol, scripts.firsts)
  for (const script of [...scripts.sessions, ...scripts.agents]) {
    const title = `${protocol.name}, ${script.name}`
    test(`${title}: the trace does not depend on where chunks end`, () => splits(script))
    test(`${title}: bytes that come ahead of an event wait for it`, () => early(script))
    test(`${title}: a full tap stops the session and loses nothing`, () => fullTap(script))
    test(`${title}: any bytes in any pieces end in an error of ours or in none`, () => fuzz(script))
    test(`${title}: endless bytes are not kept`, () => flood(script))
  }
  for (const script of scripts.sessions) {
    const title = `${protocol.name}, ${script.name}`
    test(`${title}: the target of the certificate stands in for one that was not named, and for no other`, () =>
      targetOfCertificate(script))
    test(`${title}: a refusal at any phase is heard, ends it, and nothing follows`, () =>
      refusedEverywhere(script, scripts.heard))
  }
  for (const script of scripts.agents) {
    test(`${protocol.name}, ${script.name}: a refusal at any phase ends the dial`, () =>
      abandonedEverywhere(script))
  }
}

/** For every protocol: recognition runs in the main thread on the bytes of strangers. */
export function recognitionSuite(protocol: Protocol, firsts: FramedScripts['firsts']): void {
  test(`${protocol.name}: recognition is total on any bytes and keeps them as they are`, () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const before = Buffer.from(bytes)
        const { verdict } = protocol.recognise(bytes)
        assert.ok(['more', 'no', 'answer', 'signal', 'mine'].includes(verdict))
        assert.deepEqual(Buffer.from(bytes), before)
      }),
    )
    assert.equal(protocol.recognise(new Uint8Array(0)).verdict, 'more')
  })
  test(`${protocol.name}: first bytes are known when they are whole, and asked for until then`, () => {
    const known = new Map(
      firsts.map((row) => [Buffer.from(row.bytes).toString('hex'), row.verdict]),
    )
    for (const { bytes, verdict } of firsts) {
      assert.equal(protocol.recognise(bytes).verdict, verdict, Buffer.from(bytes).toString('hex'))
      if (verdict === 'no' || verdict === 'more') continue
      for (let length = 0; length < bytes.length; length++) {
        const part = bytes.subarray(0, length)
        const expected = known.get(Buffer.from(part).toString('hex')) ?? 'more'
        assert.equal(protocol.recognise(part).verdict, expected, `${length} bytes`)
      }
    }
  })
  test(`${protocol.name}: an answer is one byte at most and consumes no more than there is`, () => {
    for (const { bytes } of firsts) {
      const recognition = protocol.recognise(bytes)
      if (recognition.verdict !== 'answer') continue
      assert.ok(recognition.bytes.length <= 1)
      assert.ok(recognition.consumed <= bytes.length)
    }
  })
}

/** A step of bytes as several, cut where told; other steps as they are. */
function cut(step: Step, ...at: readonly number[]): Step[] {
  if ('event' in step) return [step]
  const edges = [0, ...at, step.bytes.length]
  return edges
    .slice(1)
    .map((to, index) => ({ ...step, bytes: step.bytes.subarray(edges[index], to) }))
}

function splits(script: Script): void {
  const whole = new Rig(script.open()).run(script.steps).trace
  script.steps.forEach((step, index) => {
    const length = 'event' in step ? 0 : step.bytes.length
    const every = Math.max(1, Math.ceil(length / SPLITS_MAX))
    for (let at = 1; at < length; at += every) {
      const steps = script.steps.toSpliced(index, 1, ...cut(step, at))
      assert.deepEqual(new Rig(script.open()).run(steps).trace, whole, `step ${index} at ${at}`)
    }
  })
  const single = script.steps.flatMap((step) =>
    'event' in step ? [step] : cut(step, ...step.bytes.keys()).slice(1),
  )
  assert.deepEqual(new Rig(script.open()).run(single).trace, whole, 'byte by byte')
}

/** What the wish is for: of `start` where it names a target, else of the client's certificate, else nothing is wished. */
function targetOfCertificate(script: Script): void {
  const [named, routed] = ['named', 'routed'].map((name) => ({ kind: 'db', name }) as const)
  const wished = (start: object, tls: object): unknown => {
    const steps = script.steps.map((step): Step => {
      if (!('event' in step)) return step
      const { event } = step
      if (event.kind === 'start') {
        const { target: _, ...rest } = event
        return { event: { ...rest, ...start } }
      }
      return event.kind === 'tls' ? { event: { ...event, ...tls } } : step
    })
    const rig = new Rig(script.open())
    const asked = steps.findIndex((step) => 'event' in step && step.event.kind === 'authorized')
    const acts = rig
      .run(steps.slice(0, asked))
      .decisions.flatMap((item) => ('act' in item ? item.act : []))
    const wish = acts.find((act) => act.kind === 'authorize')
    return wish?.access.target
  }
  assert.deepEqual(wished({ target: named }, {}), named)
  assert.deepEqual(wished({}, { target: routed }), routed)
  assert.deepEqual(wished({ target: named }, { target: routed }), named)
  assert.equal(wished({}, {}), undefined)
}

/** Each step of bytes is given before the events that come right before it. */
function early(script: Script): void {
  const whole = new Rig(script.open()).run(script.steps).trace
  script.steps.forEach((step, index) => {
    let to = index
    while (to > 0 && 'event' in (script.steps[to - 1] ?? step)) to--
    if ('event' in step || to === index) return
    const steps = script.steps.toSpliced(index, 1).toSpliced(to, 0, step)
    assert.deepEqual(new Rig(script.open()).run(steps).trace, whole, `step ${index} at ${to}`)
  })
}

function fullTap(script: Script): void {
  let notes = 0
  const whole = new Rig(script.open(), () => ++notes > 0).run(script.steps).trace
  for (let full = 0; full < notes; full++) {
    const rig = new Rig(script.open(), (count) => count !== full)
    assert.deepEqual(rig.run(script.steps).trace, whole, `note ${full}`)
  }
  const halves = script.steps.flatMap((step) =>
    'event' in step ? [step] : cut(step, step.bytes.length >> 1),
  )
  const everySecond = new Rig(script.open(), (count) => count % 2 === 1)
  assert.deepEqual(everySecond.run(halves).trace, whole, 'every second note, in halves')
}

/** The steps of a script with bytes changed, cut, dropped or repeated. */
function fuzz(script: Script): void {
  const change = fc.record({
    step: fc.nat(script.steps.length - 1),
    at: fc.nat(4096),
    kind: fc.constantFrom('flip', 'cut', 'insert', 'drop', 'repeat'),
    bytes: fc.uint8Array({ minLength: 1, maxLength: 12 }),
    split: fc.nat(64),
  })
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
      const rig = new Rig(script.open())
      rig.run(
        script.steps.flatMap((step, index) =>
          changed(
            step,
            changes.filter((c) => c.step === index),
          ),
        ),
      )
      rig.refuse(refusalOf('lock'))
    }),
    { numRuns: FUZZ_RUNS },
  )
}

interface Change {
  readonly at: number
  readonly kind: string
  readonly bytes: Uint8Array
  readonly split: number
}

function changed(step: Step, changes: readonly Change[]): Step[] {
  if ('event' in step) {
    return changes.some((change) => change.kind === 'repeat') ? [step, step] : [step]
  }
  let bytes = Buffer.from(step.bytes)
  for (const change of changes) {
    const at = change.at % (bytes.length + 1)
    const added = change.kind === 'drop' || change.kind === 'cut' ? [] : [change.bytes]
    const gone = change.kind === 'insert' ? 0 : change.bytes.length
    const after = change.kind === 'cut' ? [] : [bytes.subarray(at + gone)]
    bytes = Buffer.concat([bytes.subarray(0, at), ...added, ...after])
    if (change.kind === 'repeat') bytes = Buffer.concat([bytes, bytes])
  }
  return cut({ ...step, bytes }, (changes[0]?.split ?? 0) % (bytes.length + 1))
}

/** Behind every step of the script, from the side that spoke last: bytes without an end. */
function flood(script: Script): void {
  const chunk = Buffer.alloc(64 * 1024)
  for (let length = 1; length <= script.steps.length; length++) {
    const last = script.steps.slice(0, length).findLast((step) => 'from' in step)
    const side = last !== undefined && 'from' in last ? last.from : 'client'
    for (const byte of [0, 0x41, 0x51, 0xff]) {
      const session = script.open()
      const rig = new Rig(session)
      rig.run(script.steps.slice(0, length))
      chunk.fill(byte)
      const before = process.memoryUsage().arrayBuffers
      for (let fed = 0; fed < FLOOD_BYTES && !rig.ended; fed += chunk.length) {
        if (!rig.drip(side, chunk)) break
      }
      const held = process.memoryUsage().arrayBuffers - before
      assert.ok(held < HELD_BYTES_MAX, `${held} bytes held after step ${length}`)
    }
  }
}

function refusedEverywhere(script: Script, heard: FramedScripts['heard']): void {
  for (let length = 0; length <= script.steps.length; length++) {
    for (const kind of KINDS) {
      for (const evict of [false, true]) {
        const refusal = refusalOf(kind)
        const rig = new Rig(script.open()).run(script.steps.slice(0, length))
        if (rig.ended) continue
        const toTarget = rig.written('target').length
        const toClient = rig.written('client').length
        const decided = rig.decisions.length
        if (evict) rig.event({ kind: 'evict', refusal })
        else rig.refuse(refusal)
        rig.run(script.steps.slice(length).filter(clientMayStillDo))
        assert.ok(rig.ended, `goes on after a refusal at step ${length}`)
        assert.equal(rig.written('target').length, toTarget, 'the target hears of it')
        assert.deepEqual(acts(rig).slice(0, -1).filter(reaches), acts(rig, decided).filter(reaches))
        const last = script.steps[length - 1]
        const deaf = last === undefined || ('deaf' in last && last.deaf === true)
        const written = rig.written('client')
        if (deaf) assert.equal(written.length, toClient, 'speaks inside a message of the target')
        else assert.ok(heard(written, refusal.decisionId), `is not heard at step ${length}`)
        rig.refuse(refusal)
      }
    }
  }
}

function acts(rig: Rig, until: number = rig.decisions.length): string[] {
  return rig.decisions.slice(0, until).flatMap((item) => ('act' in item ? [item.act.kind] : []))
}

function reaches(kind: string): boolean {
  return kind === 'authorize' || kind === 'dial'
}

/** What still happens to a session that is being refused: the client goes on with its handshake. */
function clientMayStillDo(step: Step): boolean {
  return 'event' in step ? step.event.kind === 'tls' : step.from === 'client'
}

function abandonedEverywhere(script: Script): void {
  for (let length = 0; length <= script.steps.length; length++) {
    const rig = new Rig(script.open()).run(script.steps.slice(0, length))
    const over = rig.ended || acts(rig).includes('ready')
    const text = `\0\u001b[2J\ud800${'x'.repeat(100_000)}`
    rig.refuse(refusalOf('lock', text))
    assert.ok(over || rig.ended, `goes on after a refusal at step ${length}`)
    rig.refuse(refusalOf('policy'))
  }
}
