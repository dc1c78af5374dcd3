// A spare whose agent took the session: what the agent says at once, and what it says before anybody listens, is there to be read.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { describe, it } from 'node:test'

import { systemClock } from '../core/clock.ts'
import { silentLogger } from '../core/log.ts'
import type { OpenRequest } from '../core/messages.ts'
import { writeAnswer } from '../core/tunnel/open.ts'
import { pair, until } from '../test/fixtures/sockets.ts'
import { release } from './handover.ts'
import { socketStream } from './socket-stream.ts'
import { SpareDial } from './spare-dial.ts'

const KEY = new Uint8Array(32).fill(7)
const SPARE = 'spare-1'

const OPEN: OpenRequest = {
  sessionId: 'session-1',
  decisionId: '01J00000000000000000000000',
  mode: 'relay',
  protocol: 'ssh',
  stage: '',
  target: { kind: 'node', name: 'web-1' },
  serverName: '',
  client: { address: '127.0.0.1', port: 5, trusted: true },
  cancelHandle: 0,
}

describe('An accepted spare', () => {
  it('keeps what its agent says until somebody reads', async (context) => {
    const { outer, inner } = await pair(context)
    const released = release(inner)
    assert.ok(released)
    const never = (): void => assert.fail('no other spare is wanted')
    const dial = new SpareDial({
      open: OPEN,
      clock: systemClock,
      log: silentLogger,
      needSpare: () =>
        dial.use({ handle: released.handle, spareId: SPARE, agentId: 'a', key: KEY }),
      badAnswer: never,
    })
    const dialled = dial.start(new AbortController().signal)
    await once(outer, 'readable')
    const answer = writeAnswer(
      KEY,
      { spareId: SPARE, sessionId: OPEN.sessionId },
      { kind: 'accept' },
    )
    outer.write(Buffer.concat([answer, Buffer.from('at once, ')]))
    const { socket, rest } = await dialled
    context.after(() => void socket.destroy())
    assert.equal(Buffer.from(rest).toString(), 'at once, ')
    // The next owner comes a few turns later, as behind a message to another thread.
    outer.end('before anybody listens')
    await until(() => socket.bytesRead > answer.length + rest.length, 'it has come')
    const stream = socketStream(socket)
    assert.equal(Buffer.from((await stream.read()) ?? []).toString(), 'before anybody listens')
    assert.equal(await stream.read(), undefined)
  })
})
