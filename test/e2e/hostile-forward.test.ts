// A hostile proxy in terminate mode against a real agent of a cluster that records in its proxies. It has its genuine certificate and
// its link, and tries to be somebody it was not asked to be, or to be another proxy. The CA keys are stolen, so that every forgery
// but the last detail is genuine; the database behind the agent must never be reached.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'

import type { UserIdentity } from '../../core/identity.ts'
import { max } from '../../core/limits.ts'
import { forwardName, writeForward } from '../../core/tunnel/forward.ts'
import { CLUSTER, newKey, newMember, newPerson, startTestControl } from '../fixtures/control.ts'
import { atEnd, suiteCleanup } from '../fixtures/files.ts'
import {
  type Forge,
  forged,
  identityOf,
  openForge,
  wrongMachines,
  wrongUsers,
} from '../fixtures/forge.ts'
import { forward, opened, type Opening, type Said } from '../fixtures/hostile-forward.ts'
import { type HostileProxy, hostileProxy } from '../fixtures/hostile-proxy.ts'
import { startup } from '../fixtures/knock.ts'
import {
  forbiddenTarget,
  leafOf,
  type RealAgent,
  realAgent,
  type Target,
} from '../fixtures/members.ts'
import { until } from '../fixtures/sockets.ts'
import type { PemPair } from '../fixtures/tls.ts'

const NAME = forwardName({ kind: 'db' }, 'orders', CLUSTER)
const YAML = 'sluice: { insecure_keys: true }\nauth_service: { session_recording: proxy }\n'
const NOTHING = new Uint8Array(0)

describe('A hostile proxy that forwards people', () => {
  const cleanup = suiteCleanup()
  let proxy: HostileProxy
  let target: Target
  let real: RealAgent
  let key: Uint8Array
  let forge: Forge
  /** A genuine certificate of alice's, routed to `orders`. */
  let routed: Uint8Array
  let alice: UserIdentity
  let login: Uint8Array
  let admin: Awaited<ReturnType<typeof startTestControl>>['admin']
  let sessions = 0
  const others: PemPair[] = []

  before(async () => {
    const control = await startTestControl({ yaml: YAML })
    atEnd(cleanup, () => control.remove())
    ;({ admin } = control)
    proxy = await hostileProxy(cleanup, control)
    target = await forbiddenTarget(cleanup)
    real = await realAgent(cleanup, control, {
      name: 'orders',
      targetPort: target.port,
      proxies: [proxy.address],
    })
    ;({ key } = await proxy.linked(real.member.id))
    proxy.carry(
      cleanup,
      () => [real.member.id],
      () => false,
    )
    await until(() => real.saved().revision > 0, 'the agent’s first snapshot')
    const person = await newPerson(control, 'alice', ['access'], {
      db_users: ['app'],
      db_names: ['*'],
    })
    // A good proxy, with a public name: the way that control tells people of.
    const address = '127.0.0.1:9'
    const good = await newMember(control, 'proxy', { address })
    await good.client.call('proxy-self', { address, linkedAgents: [] })
    others.push(good, await newMember(control, 'agent'))
    const { publicKey } = newKey()
    const wanted = { service: 'orders', dbUser: 'app', dbName: 'postgres', publicKey }
    routed = leafOf((await person.client.call('certificate-db', wanted)).certificate)
    login = leafOf(person.certificate)
    const identity = identityOf(routed)
    assert.ok(identity.type === 'user')
    alice = identity
    forge = openForge(join(control.folder, 'signer'), CLUSTER)
  })

  function opening(over: Partial<Opening> = {}): Opening {
    return {
      sessionId: `7f0e0f5e-3f2c-4b52-9a8c-${String(++sessions).padStart(12, '0')}`,
      decisionId: '01JD3M0000000000000000000A',
      mode: 'terminate',
      protocol: 'postgres',
      stage: '',
      target: { kind: 'db', name: 'orders' },
      serverName: NAME,
      client: { address: '192.0.2.7', port: 7, trusted: true },
      cancelHandle: 0,
      expiresAtMs: Date.now() + 30_000,
      ...over,
    }
  }

  /** A whole attempt: frame, TLS as `shown`, preface or other bytes. */
  async function attempt(
    bytes: Uint8Array,
    shown: PemPair | undefined = proxy.member,
    servername: string = NAME,
  ): Promise<Said & { readonly sid: string }> {
    const frame = opening()
    const spare = await proxy.spare(real.member.id)
    assert.equal(await opened(spare, key, frame), 'accept')
    const said = await forward(spare, shown, bytes, { servername })
    return { ...said, sid: frame.sessionId }
  }

  function forwarding(certificate: Uint8Array, user = 'app'): Uint8Array {
    const preface = writeForward({ certificate, permit: NOTHING })
    return Buffer.concat([preface, startup(user, 'postgres')])
  }

  async function refused(sid: string): Promise<Readonly<Record<string, unknown>>> {
    return await real.events.have('session.forward', { sid, success: false })
  }

  it('may speak for whom it was asked by, and the agent then decides itself', async () => {
    const { text, sid } = await attempt(forwarding(routed))
    // As far as a certificate for the database, which this control's double has none of.
    assert.match(text, /Sluice could not log in to the database/)
    const event = await real.events.have('session.forward', { sid, success: true })
    assert.equal(event['user'], 'alice')
    assert.equal(event['forwarded_by'], proxy.member.id)
    const denied = await attempt(forwarding(routed, 'postgres'))
    assert.match(denied.text, /certificate is for another database user/)
    await refused(denied.sid)
  })

  it('cannot forward a certificate that is routed elsewhere, or nowhere', async () => {
    const elsewhere = { ...alice, route: { kind: 'db', name: 'payroll' } } as const
    for (const certificate of [login, leafOf(forged(forge.cas.user, elsewhere).certificate)]) {
      const { text, sid } = await attempt(forwarding(certificate))
      assert.match(text, /FATAL.*certificate is not for this database/)
      assert.equal((await refused(sid))['user'], 'alice')
    }
  })

  it('cannot forward a certificate that is none of a person’s', async () => {
    const wrong = wrongUsers(forge, alice).filter(({ shown }) => shown !== undefined)
    assert.ok(wrong.length > 10)
    for (const { what, shown } of wrong) {
      const { text, sid } = await attempt(forwarding(leafOf(shown?.certificate ?? '')))
      assert.match(text, /FATAL.*certificate is refused/, what)
      await refused(sid)
    }
  })

  it('cannot forward bytes that are no certificate', async () => {
    for (const bytes of [Buffer.from('none'), routed.subarray(0, 100), Buffer.alloc(9000, 0x30)]) {
      const { text, sid } = await attempt(forwarding(bytes))
      assert.match(text, /FATAL/)
      await refused(sid)
    }
  })

  it('cannot be another proxy, an agent, a person or nobody', async () => {
    const identity = identityOf(leafOf(proxy.member.certificate))
    assert.ok(identity.type === 'system')
    const shown: (PemPair | undefined)[] = [
      ...others,
      forged(forge.cas.user, alice),
      ...wrongMachines(forge, identity, ['agent', 'control']).map((wrong) => wrong.shown),
    ]
    for (const pair of shown) {
      const frame = opening()
      const spare = await proxy.spare(real.member.id)
      assert.equal(await opened(spare, key, frame), 'accept')
      const { text } = await forward(spare, pair, forwarding(routed), { servername: NAME })
      assert.equal(text, '')
      const { error } = await refused(frame.sessionId)
      assert.match(String(error), /The proxy is refused|TLS handshake failed/)
    }
  })

  it('cannot say another server name, in the frame or in TLS', async () => {
    for (const serverName of [
      `terminate.payroll.db.${CLUSTER}`,
      `t.orders.db.${CLUSTER}`,
      `orders.db.${CLUSTER}`,
    ]) {
      const spare = await proxy.spare(real.member.id)
      assert.equal(await opened(spare, key, opening({ serverName })), 'no-target')
      const { secured, text, sid } = await attempt(forwarding(routed), proxy.member, serverName)
      assert.equal(text, '', `secured ${secured}`)
      await refused(sid)
    }
  })

  it('cannot offer a client’s protocol in its place', async () => {
    const spare = await proxy.spare(real.member.id)
    assert.equal(await opened(spare, key, opening()), 'accept')
    const client = { servername: NAME, ALPNProtocols: ['postgresql'] }
    const said = await forward(
      spare,
      forged(forge.cas.user, alice),
      startup('app', 'postgres'),
      client,
    )
    assert.deepEqual(said, { secured: false, text: '' })
  })

  it('is cut off by a preface that is wrong or too long, or ends early', async () => {
    const whole = writeForward({ certificate: routed, permit: NOTHING })
    const long = Buffer.from(whole.subarray(0, 9))
    long.writeUInt16BE(max('forwardCertificateBytesMax') + 1, 5)
    for (const bytes of [startup('app', 'postgres'), long]) {
      const { text, sid } = await attempt(bytes)
      assert.equal(text, '')
      assert.match(String((await refused(sid))['error']), /frame\.malformed/)
    }
    for (const length of [0, 4, 9, whole.length - 1]) {
      const frame = opening()
      const spare = await proxy.spare(real.member.id)
      assert.equal(await opened(spare, key, frame), 'accept')
      const said = forward(spare, proxy.member, whole.subarray(0, length), { servername: NAME })
      // Only when its part of the preface has come can the agent hear that no more will.
      setTimeout(() => spare.socket.end(), 50)
      assert.equal((await said).text, '')
      await refused(frame.sessionId)
    }
  })

  it('cannot bring back somebody who was locked', async () => {
    const spec = { target: { user: 'alice' }, message: 'left' }
    const document = { kind: 'lock', version: 'v2', metadata: { name: 'l1' }, spec }
    await admin.call('resource-create', { kind: 'lock', document })
    await until(() => real.saved().lockRevision > 0, 'the lock at the agent')
    const { text, sid } = await attempt(forwarding(routed))
    assert.match(text, /FATAL.*lock/)
    await refused(sid)
  })

  it('reached no database with all of it', async () => {
    assert.equal(target.visitors.length, 0)
    await until(() => real.agent.sessions === 0, 'every session ended')
  })
})
