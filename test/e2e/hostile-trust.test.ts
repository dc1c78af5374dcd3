// What a hostile proxy can do to an agent's beliefs: it carries control's signed messages, so it can forge, play back, swap and
// withhold them, and lie to control about what the agent holds. A real agent in this process, linked to that proxy alone.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { signedMessage, SNAPSHOT_TYPES } from '../../core/cert/signed.ts'
import { generateKey, type Signer } from '../../core/cert/key.ts'
import { max } from '../../core/limits.ts'
import {
  decodeSnapshot,
  encodeBeacon,
  encodeLocks,
  encodeSnapshot,
  type SignedMessage,
} from '../../core/snapshot-codec.ts'
import { startTestControl, type TestControl } from '../fixtures/control.ts'
import { atEnd, suiteCleanup } from '../fixtures/files.ts'
import { type HostileProxy, hostileProxy } from '../fixtures/hostile-proxy.ts'
import { forbiddenTarget, type RealAgent, realAgent } from '../fixtures/members.ts'
import { until } from '../fixtures/sockets.ts'

describe('A hostile carrier', () => {
  const cleanup = suiteCleanup()
  let control: TestControl
  let proxy: HostileProxy
  let real: RealAgent
  /** Everything control sent, as the proxy keeps it. */
  const heard: SignedMessage[] = []
  let withhold: (message: SignedMessage) => boolean = () => false

  before(async () => {
    control = await startTestControl()
    atEnd(cleanup, () => control.remove())
    proxy = await hostileProxy(cleanup, control)
    const { port: targetPort } = await forbiddenTarget(cleanup)
    real = await realAgent(cleanup, control, {
      name: 'orders',
      targetPort,
      proxies: [proxy.address],
    })
    await proxy.linked(real.member.id)
    const agents = (): readonly string[] => [real.member.id]
    proxy.carry(cleanup, agents, (message) => {
      heard.push(message)
      return withhold(message)
    })
    await until(() => real.saved().revision > 0, 'the agent’s first snapshot')
  })

  /** The newest message of a type that is for agents. */
  function newest(type: SignedMessage['type']): SignedMessage {
    const found = heard.findLast(
      (each) =>
        each.type === type && (type !== 'snapshot' || decodeSnapshot(each.body).class === 'agent'),
    )
    assert.ok(found, type)
    return found
  }

  async function role(name: string): Promise<void> {
    const spec = { allow: { db_labels: { '*': '*' }, db_users: ['app'], db_names: ['*'] } }
    const document = { kind: 'role', version: 'v7', metadata: { name }, spec }
    await control.admin.call('resource-create', { kind: 'role', document })
  }

  async function lock(name: string): Promise<void> {
    const spec = { target: { user: name } }
    const document = { kind: 'lock', version: 'v2', metadata: { name }, spec }
    await control.admin.call('resource-create', { kind: 'lock', document })
  }

  /** Sends it and waits for the refusal in the agent's log. */
  async function refused(message: SignedMessage, code: string): Promise<void> {
    const before = real.events.all.length
    const { revision, lockRevision } = real.saved()
    proxy.tell(real.member.id, message)
    await until(() => real.events.all.length > before, 'the refusal')
    const event = real.events.all[before]
    assert.deepEqual([event?.name, event?.code], ['snapshot.refused', code])
    assert.equal(event?.fields['proxy_id'], proxy.member.id)
    assert.equal(event.fields['kind'], message.type)
    const after = real.saved()
    assert.deepEqual([after.revision, after.lockRevision], [revision, lockRevision])
  }

  it('cannot make a message of its own', async () => {
    const { signer: own } = generateKey('ed25519')
    const genuine = decodeSnapshot(newest('snapshot').body)
    const revision = genuine.revision + 100
    const bodies: readonly (readonly [SignedMessage['type'], Uint8Array])[] = [
      ['snapshot', encodeSnapshot({ ...genuine, revision, roles: [] })],
      ['snapshot', encodeSnapshot({ ...genuine, revision, signers: [own.spki] })],
      ['locks', encodeLocks({ revision, locks: [], generations: {} })],
      [
        'beacon',
        encodeBeacon({ snapshotRevision: 0, lockRevision: 0, timeMs: Date.now() + 3_600_000 }),
      ],
    ]
    for (const [type, body] of bodies) await refused(signed(type, body, own), 'SLS001E')
  })

  it('cannot change, cut or rename one of control’s', async () => {
    for (const type of ['snapshot', 'locks', 'beacon'] as const) {
      const { body, signature } = newest(type)
      const text = Buffer.from(body).toString()
      const changed = Buffer.from(text.replace(/\d(?=\D*$)/, (digit) => String(9 - Number(digit))))
      assert.notEqual(changed.toString(), text)
      await refused({ type, body: changed, signature }, 'SLS001E')
      await refused({ type, body: body.subarray(0, -1), signature }, 'SLS001E')
      await refused({ type, body, signature: signature.subarray(0, -1) }, 'SLS001E')
      await refused({ type, body, signature: new Uint8Array(64) }, 'SLS001E')
    }
    for (const type of SNAPSHOT_TYPES.filter((each) => each !== 'inventory'))
      for (const other of SNAPSHOT_TYPES)
        if (other !== type && other !== 'inventory')
          await refused({ ...newest(other), type }, 'SLS001E')
  })

  it('cannot go back to an older snapshot or lock set', async () => {
    const [snapshot, locks] = [newest('snapshot'), newest('locks')]
    const { revision, lockRevision } = real.saved()
    await role('later')
    await lock('mallory')
    await until(
      () => real.saved().revision > revision && real.saved().lockRevision > lockRevision,
      'the newer ones',
    )
    await refused(snapshot, 'SLS002E')
    await refused(locks, 'SLS002E')
  })

  it('that withholds a snapshot or a lock set makes the agent stale, whatever it tells control', async () => {
    const id = real.member.id
    const stale = async (): Promise<boolean> =>
      (await control.admin.call('status', {})).stale.includes(id)
    /** What an honest proxy says each two seconds, with a revision that no lock set ever has. */
    const lie = async (): Promise<void> =>
      void (await proxy.member.client.call('proxy-self', {
        address: proxy.address,
        linkedAgents: [id],
        lockRevision: 1_000_000,
        agentLockRevisions: { [id]: 1_000_000 },
      }))
    await settled(async () => {
      await lie()
      return !(await stale())
    }, 'fresh at first')
    const changes: readonly (readonly [SignedMessage['type'], () => Promise<void>])[] = [
      ['locks', () => lock('trudy')],
      ['snapshot', () => role('withheld')],
      ['beacon', () => Promise.resolve()],
    ]
    for (const [type, change] of changes) {
      withhold = (message) => message.type === type
      await change()
      await settled(async () => {
        await lie()
        return await stale()
      }, `stale without ${type}`)
      withhold = () => false
      // It passes on what it kept, and all is well again.
      for (const each of ['locks', 'snapshot', 'beacon'] as const) proxy.tell(id, newest(each))
      await settled(async () => {
        await lie()
        return !(await stale())
      }, `fresh again after ${type}`)
    }
  })

  it('that plays the newest beacon for ever makes nothing fresh', async () => {
    const recorded = newest('beacon')
    withhold = (message) => message.type === 'beacon'
    const stale = async (): Promise<boolean> => {
      proxy.tell(real.member.id, recorded)
      return (await control.admin.call('status', {})).stale.includes(real.member.id)
    }
    await settled(stale, 'stale')
    withhold = () => false
  })
})

function signed(type: SignedMessage['type'], body: Uint8Array, signer: Signer): SignedMessage {
  return { type, body, signature: signer.sign(signedMessage(type, body)) }
}

async function settled(holds: () => Promise<boolean>, what: string): Promise<void> {
  const endMs = performance.now() + 3 * max('beaconIntervalMs') + 15_000
  while (!(await holds())) {
    assert.ok(performance.now() < endMs, `waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}
