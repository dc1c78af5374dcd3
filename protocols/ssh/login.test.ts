// A login of ours against our own client in memory: who is let in, what those hear who are not, and how a session is ended from outside.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type ErrorCode, errorCode, ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Refusal } from '../../core/protocol.ts'
import {
  clientKey,
  exec,
  LOCKED,
  noise,
  openSession,
  outputOf,
  PTY,
  rightWith,
  session,
  told,
  turns,
  type Client,
  type Serving,
} from './session.fixture.ts'

describe('a login', () => {
  const hears = async (it: Serving & Client): Promise<string> => {
    await assert.rejects(it.connected)
    await it.over
    return it.banner()
  }

  it('that policy refuses hears the reason as a banner and as the last word, and nothing is reached', async () => {
    let reached = 0
    const it = session({
      host: { authorize: () => Promise.resolve({ ...LOCKED, kind: 'policy', reason: 'no role' }) },
      ssh: {
        reach: () => {
          reached++
          return Promise.reject(new Error('not asked'))
        },
      },
    })
    const expected = 'denied by Sluice policy (decision 01JLOCK): no role. Ask an administrator.'
    assert.equal(await hears(it), `${expected}\r\n`)
    await assert.rejects(it.connected, (error: ProxyError) => error.detail === expected)
    assert.equal(reached, 0)
  })

  it('with a certificate of somebody unknown hears so, and may try another', async () => {
    let asked = 0
    const it = session({
      host: {
        identify: () =>
          Promise.resolve({ ...LOCKED, kind: 'identity', reason: 'its CA is not trusted' }),
        authorize: () => {
          asked++
          return Promise.resolve(LOCKED)
        },
      },
    })
    assert.match(await hears(it), /its CA is not trusted/)
    assert.equal(asked, 0)
  })

  it('as somebody the certificate is not for, or with a name that is none, is not asked about', async () => {
    const no = { authorize: () => Promise.reject(new Error('asked')) }
    assert.match(await hears(session({ host: no }, { user: 'root' })), /not for the login “root”/)
    for (const user of ['', 'a b', 'a\nb', '-l', '*', 'x'.repeat(max('nameLengthMax') + 1)])
      assert.match(await hears(session({ host: no }, { user })), /no name of a login/)
  })

  it('with a restriction that nobody carries out is refused', async () => {
    const key = clientKey({ critical: { 'verify-required': '' } })
    assert.match(await hears(session({}, { key })), /restriction.*verify-required/)
  })

  it('to a machine that cannot be reached hears the sentence of whoever tried, and no other error’s', async () => {
    const failing = (error: Error): Promise<string> =>
      hears(session({ ssh: { reach: () => Promise.reject(error) } }))
    assert.match(await failing(new ProxyError('dial.failed', 'The launcher is not up.')), /not up/)
    const system = Object.assign(new Error('connect ENOENT /run/secret'), { code: 'ENOENT' })
    assert.match(await failing(system), /cannot be reached: it failed/)
  })

  it('is told from a refusal when what it leads to, or what decides, is away', async () => {
    const codeOf = async (change: Parameters<typeof session>[0]): Promise<unknown> => {
      const it = session(change)
      await hears(it)
      return it.connected.catch(errorCode)
    }
    const reaching = (code: ErrorCode): Promise<unknown> =>
      codeOf({ ssh: { reach: () => Promise.reject(new ProxyError(code, 'no')) } })
    assert.equal(await reaching('dial.failed'), 'dial.failed')
    assert.equal(await reaching('control.unavailable'), 'dial.failed')
    assert.equal(await reaching('login.failed'), 'login.failed')
    assert.equal(await reaching('policy.denied'), 'login.failed')
    const deciding = (kind: Refusal['kind']): Promise<unknown> =>
      codeOf({ host: { authorize: () => Promise.resolve({ ...LOCKED, kind }) } })
    assert.equal(await deciding('unavailable'), 'dial.failed')
    assert.equal(await deciding('lock'), 'login.failed')
  })

  it('that the thread cannot decide ends the connection', async () => {
    const it = session({ host: { authorize: () => Promise.reject(new Error('no policy')) } })
    assert.equal(await hears(it), '')
  })

  it('of somebody forwarded needs no proof, is judged by the certificate that was shown, and takes no other', async () => {
    const shown = clientKey().blob
    const identified: Uint8Array[] = []
    const change = {
      ssh: { forwarded: { certificate: shown } },
      host: {
        identify: (bytes: Uint8Array) => {
          identified.push(bytes)
          return Promise.resolve(LOCKED)
        },
      },
    }
    assert.match(await hears(session(change, { key: undefined })), /alice is locked/)
    assert.deepEqual(
      identified.map((bytes) => Buffer.from(bytes)),
      [Buffer.from(shown)],
    )
    assert.equal(await hears(session(change)), '')
    assert.equal(identified.length, 1)
  })

  it('without a proof is refused where nobody is forwarded', async () => {
    assert.equal(await hears(session({}, { key: undefined })), '')
  })
})

describe('a session that is ended from outside', () => {
  it('says why to every program and in its last word, and hangs everything up', async () => {
    const it = session()
    const { channel, connection } = await openSession(it)
    await channel.request(PTY)
    await channel.request({ kind: 'shell' })
    const program = await it.machine.program()
    const other = await connection.open({ kind: 'session' })
    await other.request(exec('sleep'))
    await it.machine.program()
    it.controller.abort(LOCKED)
    const sentence =
      'session ended by Sluice policy (decision 01JLOCK): user alice is locked. Ask an administrator.'
    for (const each of [channel, other])
      assert.equal((await outputOf(each))[1], `\r\n${sentence}\r\n`)
    await program.hungUp
    await it.over
    assert.equal(connection.farewell, sentence)
    assert.equal(it.machine.ended, true)
    assert.equal(it.recorders[0]?.sealed, sentence)
    assert.equal(told(it, 'T2004I')['reason'], sentence)
  })

  it('does not wait for a client that reads nothing', async () => {
    const it = session()
    const { channel } = await openSession(it)
    await channel.request(exec('yes'))
    const program = await it.machine.program()
    // More than every window and buffer on the way holds.
    const flood = noise(8 * 1024 * 1024)
    const writing = program.inside.write(flood).catch(() => undefined)
    while (it.told.length === 0) await new Promise((resolve) => setImmediate(resolve))
    it.controller.abort(LOCKED)
    await program.hungUp
    await writing
    await it.over
  })

  it('while somebody decides, is not asked for a machine', async () => {
    const decision = Promise.withResolvers<typeof LOCKED>()
    const asked = Promise.withResolvers<void>()
    let reached = 0
    const it = session({
      host: {
        authorize: async () => {
          asked.resolve()
          await decision.promise
          return rightWith()
        },
      },
      ssh: {
        reach: () => {
          reached++
          return Promise.reject(new Error('reached'))
        },
      },
    })
    await asked.promise
    it.controller.abort(LOCKED)
    decision.resolve(LOCKED)
    await it.over
    await turns()
    assert.equal(reached, 0)
  })

  it('while a machine is reached, leaves it at once', async () => {
    const gate = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    const it = session({
      ssh: {
        reach: async () => {
          reached.resolve()
          await gate.promise
          return { kind: 'machine', machine: it.machine }
        },
      },
    })
    await reached.promise
    it.controller.abort(LOCKED)
    await it.over
    gate.resolve()
    await new Promise((resolve) => setImmediate(resolve))
    assert.equal(it.machine.ended, true)
    assert.match(it.banner(), /alice is locked/)
  })

  it('before it began is ended at once', async () => {
    const it = session()
    it.controller.abort(LOCKED)
    await assert.rejects(it.connected)
    await it.over
  })
})
