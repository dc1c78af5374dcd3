// A hostile proxy that forwards people of SSH to an agent, with its genuine certificate and link: where the cluster records at nodes it
// cannot speak for anybody; where it records in proxies, each person needs control's permit for that certificate, node and proxy. The
// snapshot key is stolen, so that all but one detail of each permit is genuine; the launcher must never be asked.

import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { before, describe, it } from 'node:test'

import { signedMessage } from '../../core/cert/signed.ts'
import { signerOf } from '../../core/cert/key.ts'
import { permitBody, type Permit, writePermit } from '../../core/permit.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { forwardSsh, permitFor, sshOpening } from '../fixtures/hostile-ssh.ts'
import { type Doors, type Outcome, sshDoors } from '../fixtures/ssh-doors.ts'
import { sshForged } from '../fixtures/ssh-forge.ts'
import { run } from '../fixtures/ssh-world.ts'

const NODE_MODE = 'sluice: { insecure_keys: true }\n'
const PROXY_MODE = `${NODE_MODE}auth_service: { session_recording: proxy }\n`
const NOTHING = new Uint8Array(0)
const ANOTHER = '5f0f7d0e-3a53-4f53-9f0e-0f5a3f1c2b4d'

describe('A hostile proxy that forwards people of SSH', () => {
  const cleanup = suiteCleanup()
  let doors: Doors

  before(async () => {
    doors = await sshDoors(cleanup, PROXY_MODE)
  })

  async function forwarded(certificate: Uint8Array, permit: Uint8Array): Promise<Outcome> {
    return await attempt(doors, certificate, permit)
  }

  /** Alice's permit, but for `over`. */
  const permit = (over: Partial<Permit> = {}): Uint8Array =>
    permitFor(doors.forge, doors.genuine.blob, doors.hostile.member.id, over)

  async function refused(reason: RegExp, bytes: Uint8Array, shown = doors.genuine.blob) {
    const launches = doors.tap.asked.length
    const { said, connected } = await forwarded(shown, bytes)
    connected?.connection.end()
    assert.match(said ?? 'it was let in', reason)
    assert.equal(doors.tap.asked.length, launches)
  }

  it('may speak for whom control permitted it: the rig sees who gets in', async () => {
    const { connected, said } = await forwarded(doors.genuine.blob, permit())
    if (connected === undefined) throw new Error(said)
    assert.equal(await run(connected, 'id -un'), `${doors.world.login}\n`)
    connected.connection.end()
    assert.ok(doors.tap.asked.length > 0)
  })

  it('cannot without a permit, or with one that control did not sign', async () => {
    await refused(/certificate is not for this node/, NOTHING)
    const good = permit()
    await refused(/certificate is not for this node/, good.subarray(0, good.length - 1))
    const { privateKey } = generateKeyPairSync('ed25519')
    const body = permitBody({
      certificate: 'a'.repeat(64),
      target: { kind: 'node', name: 'web-1' },
      proxyId: doors.hostile.member.id,
      expiresAtMs: Date.now() + 60_000,
    })
    const own = writePermit(body, signerOf(privateKey).sign(signedMessage('permit', body)))
    await refused(/certificate is not for this node/, own)
  })

  it('cannot use another person’s permit', async () => {
    const bob = sshForged(doors.ssh.user, { ...doors.alice, name: 'bob' }, doors.world.login)
    await refused(/the permit is for another certificate/, permit(), bob.blob)
  })

  it('cannot use a permit for another node, another proxy, another time', async () => {
    const nowMs = Date.now()
    await refused(/for another target/, permit({ target: { kind: 'node', name: 'web-2' } }))
    await refused(/for another target/, permit({ target: { kind: 'db', name: 'web-1' } }))
    await refused(/for another proxy/, permit({ proxyId: doors.world.proxy.member.id }))
    await refused(/for another proxy/, permit({ proxyId: ANOTHER }))
    await refused(/permit has expired/, permit({ expiresAtMs: nowMs - 1 }))
    await refused(/longer than permits last/, permit({ expiresAtMs: nowMs + 90 * 86_400_000 }))
  })

  it('gets no permit of control for who is none of the cluster’s, or a login that is not theirs', async () => {
    const { client } = doors.hostile.member
    const wish = (blob: Uint8Array, principal: string, name = 'web-1'): Promise<unknown> =>
      client.call('permit', {
        userSshCertificate: Buffer.from(blob).toString('base64'),
        target: { kind: 'node', name },
        principal,
      })
    const { login } = doors.world
    await wish(doors.genuine.blob, login)
    await assert.rejects(wish(doors.genuine.blob, 'root'), /not for this login/)
    await assert.rejects(wish(doors.genuine.blob, login, 'web-2'), /There is no node/)
    const foreign = sshForged(doors.ssh.host, doors.alice, login)
    await assert.rejects(wish(foreign.blob, login), /CA is not trusted/)
  })
})

describe('A hostile proxy where SSH ends at the node', () => {
  const cleanup = suiteCleanup()
  let doors: Doors

  before(async () => {
    doors = await sshDoors(cleanup, NODE_MODE)
  })

  it('cannot forward an identity, with whatever permit', async () => {
    const { forge, genuine, hostile, tap } = doors
    for (const permit of [NOTHING, permitFor(forge, genuine.blob, hostile.member.id)]) {
      const { said } = await attempt(doors, genuine.blob, permit)
      // The agent's answer to the frame, before anybody is spoken for.
      assert.equal(said, 'mode')
    }
    assert.equal(tap.asked.length, 0)
  })

  it('gets no permit of control', async () => {
    const { hostile, genuine, world } = doors
    const userSshCertificate = Buffer.from(genuine.blob).toString('base64')
    const target = { kind: 'node', name: 'web-1' } as const
    await assert.rejects(
      hostile.member.client.call('permit', { userSshCertificate, target, principal: world.login }),
      /end at agents, which need no permit/,
    )
  })

  it('cannot say what the client proves: a relayed session is the client’s and the agent’s', async () => {
    const { hostile, world, genuine, tap } = doors
    const opening = sshOpening({ mode: 'relay', serverName: '' })
    const said = { certificate: genuine.blob, permit: NOTHING }
    const { answer, stream } = await forwardSsh(hostile, world.agent.member.id, said, opening)
    assert.equal(answer, 'accept')
    assert.ok(stream)
    // Its TLS is not SSH: the agent hangs up.
    const outcome = await doors.login(stream, undefined, world.login, 'web-1')
    assert.ok(outcome.said !== undefined)
    assert.equal(tap.asked.length, 0)
  })
})

async function attempt(
  doors: Doors,
  certificate: Uint8Array,
  permit: Uint8Array,
): Promise<Outcome> {
  const { hostile, world } = doors
  const said = { certificate, permit }
  const { answer, stream } = await forwardSsh(hostile, world.agent.member.id, said)
  if (stream === undefined) return { said: answer }
  return await doors.login(stream, undefined, world.login, 'web-1')
}
