// A hostile proxy against a real agent: forged, replayed and truncated open frames on the spares it ordered, and wishes it has no
// right to. All in this process around a real control; the database behind the agent must never be reached.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { before, describe, it } from 'node:test'
import tls from 'node:tls'

import {
  type AgentRefusal,
  type OpenFrame,
  readAnswer,
  writeAnswer,
  writeOpen,
} from '../../core/tunnel/open.ts'
import { CLUSTER, startTestControl } from '../fixtures/control.ts'
import { atEnd, suiteCleanup } from '../fixtures/files.ts'
import { type HostileProxy, hostileProxy, type Spare } from '../fixtures/hostile-proxy.ts'
import { helloFor, startup } from '../fixtures/knock.ts'
import { forbiddenTarget, type RealAgent, realAgent, type Target } from '../fixtures/members.ts'
import { readBytes } from '../fixtures/net.ts'
import { ending, until } from '../fixtures/sockets.ts'

const NAME = `t.orders.db.${CLUSTER}`

const OPEN = {
  sessionId: '7f0e0f5e-3f2c-4b52-9a8c-7a3a3a3a3a3a',
  decisionId: '01JD3M0000000000000000000A',
  mode: 'relay',
  protocol: 'postgres',
  stage: '',
  target: { kind: 'db', name: 'orders' },
  serverName: NAME,
  client: { address: '127.0.0.1', port: 1, trusted: true },
  cancelHandle: 0,
} as const satisfies Omit<OpenFrame, 'spareId' | 'expiresAtMs'>

/** What a frame may say besides the truth. */
type Wish = Partial<Omit<Extract<OpenFrame, { mode: 'relay' | 'terminate' }>, 'spareId'>>

describe('A hostile proxy', () => {
  const cleanup = suiteCleanup()
  let proxy: HostileProxy
  let target: Target
  let real: RealAgent
  let key: Uint8Array

  before(async () => {
    const control = await startTestControl()
    atEnd(cleanup, () => control.remove())
    proxy = await hostileProxy(cleanup, control)
    target = await forbiddenTarget(cleanup)
    const { port: targetPort } = target
    const proxies = [proxy.address]
    real = await realAgent(cleanup, control, { name: 'orders', targetPort, proxies })
    ;({ key } = await proxy.linked(real.member.id))
    const everything = (): boolean => false
    proxy.carry(cleanup, () => [real.member.id], everything)
    await until(() => real.saved().revision > 0, 'the agent’s first snapshot')
  })

  function opening({ spareId }: Pick<Spare, 'spareId'>, wish: Wish = {}): Uint8Array {
    return writeOpen(key, { ...OPEN, expiresAtMs: Date.now() + 30_000, ...wish, spareId })
  }

  /** Sends bytes on a fresh spare; gives all that came back until the agent ended it. */
  async function say(
    bytes: (spare: Spare) => Uint8Array,
    end = false,
  ): Promise<{ readonly spareId: string; readonly heard: Buffer }> {
    const spare = await proxy.spare(real.member.id)
    const heard: Buffer[] = []
    spare.socket.on('data', (chunk: Buffer) => heard.push(chunk))
    spare.socket.resume()
    spare.socket.write(bytes(spare))
    if (end) spare.socket.end()
    await until(() => spare.socket.readableEnded || spare.socket.closed, 'the end of the spare')
    return { spareId: spare.spareId, heard: Buffer.concat(heard) }
  }

  async function audited(spareId: string, reason: string): Promise<void> {
    const proxy_id = proxy.member.id
    await real.events.have('spare.refused', { spare_id: spareId, proxy_id, reason })
  }

  /** Reads the agent's answer off a spare; what follows it stays there. */
  async function accepted({ socket, spareId }: Spare): Promise<void> {
    const whole = writeAnswer(key, { spareId, sessionId: OPEN.sessionId }, { kind: 'accept' })
    const reading = readAnswer(await readBytes(socket, whole.length), key, { ...OPEN, spareId })
    assert.ok(reading.verdict === 'frame' && reading.frame.kind === 'accept')
  }

  const lies: readonly (readonly [string, string, (spare: Spare) => Uint8Array])[] = [
    ['with one changed bit', 'frame.bad-mac', (spare) => flipped(opening(spare), 40)],
    ['with another target under the old MAC', 'frame.bad-mac', (spare) => renamed(opening(spare))],
    ['with a changed MAC', 'frame.bad-mac', (spare) => flipped(opening(spare), -1)],
    [
      'under a key of its own',
      'frame.bad-mac',
      ({ spareId }) => writeOpen(randomBytes(32), { ...OPEN, expiresAtMs: 2 ** 42, spareId }),
    ],
    [
      'that was made for another spare',
      'frame.bad-mac',
      () => opening({ spareId: '3e4f0a6e-0000-4000-8000-000000000000' }),
    ],
    ['of another version', 'frame.malformed', (spare) => flipped(opening(spare), 4)],
    ['longer than the limit', 'frame.malformed', (spare) => flipped(opening(spare), 6, 0x80)],
    [
      'that is an agent’s answer',
      'frame.malformed',
      ({ spareId }) => writeAnswer(key, { ...OPEN, spareId }, { kind: 'accept' }),
    ],
    ['that is none but a TLS hello', 'frame.malformed', () => Buffer.from('1603010005', 'hex')],
  ]
  for (const [what, reason, bytes] of lies)
    it(`an open frame ${what} ends the spare without a word, and is audited`, async () => {
      const { spareId, heard } = await say(bytes)
      assert.equal(heard.length, 0)
      await audited(spareId, reason)
    })

  it('an open frame that is over is answered with a refusal, opens nothing, and is audited', async () => {
    const late = { expiresAtMs: Date.now() - 1000 }
    const { spareId, heard } = await say((spare) => opening(spare, late))
    const reading = readAnswer(heard, key, { ...OPEN, spareId })
    assert.ok(reading.verdict === 'frame' && reading.end === heard.length)
    assert.deepEqual(reading.frame, { kind: 'refuse', reason: 'expired', text: '' })
    await audited(spareId, 'expired')
  })

  it('an open frame cut anywhere ends with the spare, and is audited', async () => {
    const whole = opening({ spareId: 'x' }).length
    for (const length of [1, 4, 7, 8, 60, whole - 33, whole - 1]) {
      const { spareId, heard } = await say((spare) => opening(spare).subarray(0, length), true)
      assert.equal(heard.length, 0)
      await audited(spareId, 'ended')
    }
  })

  it('a recorded open frame opens no second spare', async () => {
    const first = await proxy.spare(real.member.id)
    const recorded = opening(first)
    first.socket.write(recorded)
    await accepted(first)
    const { spareId, heard } = await say(() => recorded)
    assert.equal(heard.length, 0)
    await audited(spareId, 'frame.bad-mac')
    first.socket.destroy()
  })

  it('a whole recorded opening played again on a spare of the same id comes to no session', async () => {
    const first = await proxy.spare(real.member.id)
    const hello = await helloFor(NAME)
    const recorded = Buffer.concat([opening(first), hello])
    first.socket.write(recorded)
    await accepted(first)
    first.socket.destroy()
    const again = await proxy.spare(real.member.id, first.spareId)
    again.socket.write(recorded)
    await accepted(again)
    // The agent's half of a handshake that nobody has the key for.
    assert.equal((await readBytes(again.socket, 1))[0], 0x16)
    again.socket.write(Buffer.from('14030300010117030300050102030405', 'hex'))
    assert.match(await ending(again.socket), /end|close|ECONNRESET/)
  })

  it('a second open frame behind the first is no TLS, and ends the session', async () => {
    const spare = await proxy.spare(real.member.id)
    spare.socket.write(Buffer.concat([opening(spare), opening(spare)]))
    await accepted(spare)
    assert.match(await ending(spare.socket), /end|close|ECONNRESET/)
  })

  const wishes: readonly (readonly [string, AgentRefusal, Wish])[] = [
    ['a target the agent does not serve', 'no-target', { target: { kind: 'db', name: 'other' } }],
    ['a target of another kind', 'no-target', { target: { kind: 'node', name: 'orders' } }],
    ['terminate mode', 'mode', { mode: 'terminate' }],
    ['another protocol', 'protocol', { protocol: 'mysql' }],
  ]
  for (const [what, reason, wish] of wishes)
    it(`a wish for ${what} is refused under the link’s MAC, and audited`, async () => {
      const { spareId, heard } = await say((spare) => opening(spare, wish))
      const reading = readAnswer(heard, key, { ...OPEN, spareId })
      assert.ok(reading.verdict === 'frame' && reading.frame.kind === 'refuse')
      assert.equal(reading.frame.reason, reason)
      await audited(spareId, reason)
    })

  it('a refused spare that the proxy holds open is dropped all the same', async () => {
    const spare = await proxy.spare(real.member.id)
    spare.socket.on('error', () => {})
    spare.socket.resume()
    spare.socket.write(opening(spare, { protocol: 'mysql' }))
    await once(spare.socket, 'end')
    // A write that is answered with a reset shows that nobody is there any more.
    const knock = setInterval(() => spare.socket.write('x'), 100)
    await until(() => spare.socket.closed, 'the agent let go')
    clearInterval(knock)
  })

  it('a client whose name is not the one of the frame gets no TLS', async () => {
    for (const serverName of [`t.payments.db.${CLUSTER}`, CLUSTER, '']) {
      const spare = await proxy.spare(real.member.id)
      spare.socket.write(opening(spare))
      await accepted(spare)
      const client = tls.connect({
        socket: spare.socket,
        servername: serverName,
        ALPNProtocols: ['postgresql'],
        rejectUnauthorized: false,
      })
      client.on('error', () => {})
      // Inside TLS even a stranger would be answered, with words.
      client.once('secureConnect', () => client.write(startup('app', 'postgres')))
      let heard = 0
      client.on('data', (chunk: Buffer) => (heard += chunk.length))
      assert.match(await ending(client), /end|close|ECONNRESET/)
      assert.equal(heard, 0, serverName)
      client.destroy()
    }
  })

  it('a client that offers the protocols of terminate mode or of a link gets no TLS', async () => {
    for (const protocol of ['sluice-session', 'sluice-link', 'sluice-control', 'h2']) {
      const spare = await proxy.spare(real.member.id)
      spare.socket.write(opening(spare))
      await accepted(spare)
      const client = tls.connect({
        socket: spare.socket,
        servername: NAME,
        ALPNProtocols: [protocol],
        rejectUnauthorized: false,
      })
      let error = ''
      client.on('error', ({ message }) => (error = message))
      await until(() => error !== '', `a refusal of ${protocol}`)
      assert.match(error, /no application protocol/, protocol)
    }
  })

  it('reached no database with all of it, and the agent serves on', async () => {
    assert.equal(target.visitors.length, 0)
    const spare = await proxy.spare(real.member.id)
    spare.socket.write(opening(spare))
    await accepted(spare)
    spare.socket.destroy()
    await until(() => real.agent.sessions === 0, 'every session ended')
  })
})

/** The bytes with some bits of one turned over. */
function flipped(bytes: Uint8Array, at: number, bits = 1): Uint8Array {
  const copy = Uint8Array.from(bytes)
  const index = at < 0 ? copy.length + at : at
  copy[index] = (copy[index] ?? 0) ^ bits
  return copy
}

/** The frame as made, but for the target's name. */
function renamed(bytes: Uint8Array): Uint8Array {
  const text = Buffer.from(bytes).toString('latin1').replace('orders', 'secret')
  return Buffer.from(text, 'latin1')
}
