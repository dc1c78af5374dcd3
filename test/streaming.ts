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

export interface StreamingScript {
  /** What a client says until the target is dialled. */
  hello(client: ByteStream): Promise<void>
  readonly heard: (written: Buffer, decisionId: string) => boolean
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
      const run = begin(protocol, { authorize: () => Promise.resolve(refusal) })
      await script.hello(run.client)
      assert.ok(script.heard(await readAll(run.client), refusal.decisionId))
      await run.over
      assert.equal(run.dialled, 0)
    },
  )
  test(
    `${title}: without a verified peer nothing is asked and nothing dialled`,
    DEADLINE,
    async () => {
      const run = begin(protocol, { stranger: true })
      await script.hello(run.client)
      await readAll(run.client)
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

function begin(protocol: StreamingProtocol, options: Options): Run {
  const [client, inside] = streamPair()
  const [toServer, server] = streamPair()
  const controller = new AbortController()
  const host: Host = {
    nowMs: () => 0,
    identify: () => Promise.resolve(options.stranger ? refusalOf('identity') : peer),
    authorize: () => {
      run.asked++
      return options.authorize?.() ?? Promise.resolve(right)
    },
    dial: async (_right, signal) => {
      signal.throwIfAborted()
      run.dialled++
      return options.dial?.(toServer) ?? toServer
    },
    upgradeTls: (stream) => Promise.resolve(options.stranger ? { stream } : { stream, peer }),
    tap: () => ({
      put: () => true,
      ready: () => Promise.resolve(),
      seal: () => Promise.resolve(),
    }),
    audit: () => undefined,
    active: () => undefined,
  }
  const over = protocol.session(inside, { stage: '', target }, host, controller.signal)
  const run: Run = { client, server, over, controller, asked: 0, dialled: 0 }
  return run
}

async function relays(protocol: StreamingProtocol, script: StreamingScript): Promise<void> {
  const gate = Promise.withResolvers<Authorized>()
  const run = begin(protocol, { authorize: () => gate.promise })
  await script.hello(run.client)
  const question = Buffer.from('question '.repeat(2000))
  for (let at = 0; at < question.length; at += 999) {
    await run.client.write(question.subarray(at, at + 999))
  }
  assert.equal(run.dialled, 0, 'dials before it may')
  gate.resolve(right)
  await run.client.end()
  assert.deepEqual(await readAll(run.server), question)
  await run.server.write(Buffer.from('answer'))
  await run.server.end()
  assert.deepEqual(await readAll(run.client), Buffer.from('answer'))
  await run.over
  assert.deepEqual([run.asked, run.dialled], [1, 1])
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
  const run = begin(protocol, {
    authorize: () => stop('authorize', right),
    dial: (stream) => stop('dial', stream),
  })
  await script.hello(run.client)
  if (phase === 'relay') {
    await run.client.write(Buffer.from('x'))
    await run.server.read()
  } else await reached.promise
  const refusal = refusalOf('lock')
  run.controller.abort(refusal)
  held.resolve()
  assert.ok(script.heard(await readAll(run.client), refusal.decisionId))
  await run.client.end()
  await run.over
  if (phase === 'authorize') assert.equal(run.dialled, 0, 'dials for a session that is over')
  else await assert.rejects(run.server.read(), 'the target is still connected')
}

async function readAll(stream: ByteStream): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for (;;) {
    const chunk = await stream.read()
    if (chunk === undefined) return Buffer.concat(chunks)
    chunks.push(chunk)
  }
}
