// The part of the contract suite for protocols that own a duplex: nothing reaches a target unauthorised, a refusal is heard at
// every phase, both ways end when one does. Streams are in memory and never deliver inside a write.

import assert from 'node:assert/strict'
import { test } from 'node:test'

import type { Authorized } from '../core/login.ts'
import type { Host, Refusal, StreamingProtocol } from '../core/protocol.ts'
import type { ByteStream } from '../core/stream.ts'
import { refusalOf } from './contract.ts'
import { streamPair } from './fake/stream.ts'
import { peer, right, target } from './scripts/people.ts'

/** A client's end, as whoever speaks the protocol has it. */
export interface Spoken {
  /** The session's bytes. */
  readonly stream: ByteStream
  /** Everything that a person is told, until the end. */
  readonly words: () => Promise<Buffer>
}

export interface StreamingScript {
  /** What a client says until the target is dialled. */
  hello(client: ByteStream): Promise<Spoken>
  readonly heard: (words: Buffer, decisionId: string) => boolean
  /** What its sessions have beside the services of all; `dial` is how the target is reached. */
  services?(dial: Host['dial']): Partial<Host>
}

/** Where a session is when something happens to it. */
type Phase = 'authorize' | 'dial' | 'relay'
const PHASES: readonly Phase[] = ['authorize', 'dial', 'relay']

const DEADLINE = { timeout: 10_000 }

export function streamingSuite(protocol: StreamingProtocol, script: StreamingScript): void {
  const title = protocol.name
  test(`${title}: bytes pass both ways once the target is dialled, and not before`, DEADLINE, () =>
    relays(protocol, script),
  )
  test(
    `${title}: a refusal is said, the client is ended, nothing is dialled`,
    DEADLINE,
    async () => {
      const refusal = refusalOf('policy')
      const run = begin(protocol, script, { authorize: () => Promise.resolve(refusal) })
      const { words } = await script.hello(run.client)
      assert.ok(script.heard(await words(), refusal.decisionId))
      await run.over
      assert.equal(run.dialled, 0)
    },
  )
  test(
    `${title}: without a verified peer nothing is asked and nothing dialled`,
    DEADLINE,
    async () => {
      const run = begin(protocol, script, { stranger: true })
      const { words } = await script.hello(run.client)
      await words()
      await run.over
      assert.deepEqual([run.asked, run.dialled], [0, 0])
    },
  )
  for (const phase of PHASES) {
    test(
      `${title}: a session ended in phase ${phase} says why and leaves nothing open`,
      DEADLINE,
      () => endedIn(phase, protocol, script),
    )
  }
}

interface Options {
  readonly stranger?: boolean
  authorize?(): Promise<Authorized | Refusal>
  dial?(stream: ByteStream): Promise<ByteStream>
}

interface Run {
  readonly client: ByteStream
  /** The far end of the target's connection. */
  readonly server: ByteStream
  readonly over: Promise<void>
  readonly controller: AbortController
  asked: number
  dialled: number
}

function begin(protocol: StreamingProtocol, script: StreamingScript, options: Options): Run {
  const [client, inside] = streamPair()
  const [toServer, server] = streamPair()
  const controller = new AbortController()
  const dial: Host['dial'] = async (_right, signal) => {
    signal.throwIfAborted()
    run.dialled++
    return options.dial?.(toServer) ?? toServer
  }
  const host: Host = {
    nowMs: () => 0,
    identify: () => Promise.resolve(options.stranger ? refusalOf('identity') : peer),
    authorize: () => {
      run.asked++
      return options.authorize?.() ?? Promise.resolve(right)
    },
    dial,
    upgradeTls: (stream) => Promise.resolve(options.stranger ? { stream } : { stream, peer }),
    tap: () => ({
      put: () => true,
      ready: () => Promise.resolve(),
      seal: () => Promise.resolve(),
    }),
    audit: () => undefined,
    active: () => undefined,
    ...script.services?.(dial),
  }
  const over = protocol.session(inside, { stage: '', target }, host, controller.signal)
  const run: Run = { client, server, over, controller, asked: 0, dialled: 0 }
  return run
}

async function relays(protocol: StreamingProtocol, script: StreamingScript): Promise<void> {
  const gate = Promise.withResolvers<Authorized>()
  const run = begin(protocol, script, { authorize: () => gate.promise })
  const { stream } = await script.hello(run.client)
  const question = Buffer.from('question '.repeat(2000))
  const asking = ask(stream, question)
  // Turns enough for whatever is too early.
  for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve))
  assert.equal(run.dialled, 0, 'dials before it may')
  gate.resolve(right)
  assert.deepEqual(await readAll(run.server), question)
  await asking
  await run.server.write(Buffer.from('answer'))
  await run.server.end()
  assert.deepEqual(await readAll(stream), Buffer.from('answer'))
  await run.over
  assert.deepEqual([run.asked, run.dialled], [1, 1])
}

async function ask(stream: ByteStream, question: Buffer): Promise<void> {
  for (let at = 0; at < question.length; at += 999)
    await stream.write(question.subarray(at, at + 999))
  await stream.end()
}

async function endedIn(
  phase: Phase,
  protocol: StreamingProtocol,
  script: StreamingScript,
): Promise<void> {
  const reached = Promise.withResolvers<void>()
  const held = Promise.withResolvers<void>()
  const stop = async <T>(at: Phase, value: T): Promise<T> => {
    if (at !== phase) return value
    reached.resolve()
    await held.promise
    return value
  }
  const run = begin(protocol, script, {
    authorize: () => stop('authorize', right),
    dial: (stream) => stop('dial', stream),
  })
  const { stream, words } = await script.hello(run.client)
  if (phase === 'relay') {
    await stream.write(Buffer.from('x'))
    await run.server.read()
  } else await reached.promise
  const refusal = refusalOf('lock')
  run.controller.abort(refusal)
  held.resolve()
  assert.ok(script.heard(await words(), refusal.decisionId))
  await stream.end()
  await run.over
  if (phase === 'authorize') assert.equal(run.dialled, 0, 'dials for a session that is over')
  else await assert.rejects(run.server.read(), 'the target is still connected')
}

export async function readAll(stream: ByteStream): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for (;;) {
    const chunk = await stream.read()
    if (chunk === undefined) return Buffer.concat(chunks)
    chunks.push(chunk)
  }
}
