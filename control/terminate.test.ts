// What control does for terminate mode: certificates for databases name the proxies while the recording mode calls for it, and
// proxies get permits for people who came to them.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { writePem } from '../core/cert/pem.ts'
import { FakeClock } from '../core/clock.ts'
import { errorCode } from '../core/errors.ts'
import { type Permit, readPermit } from '../core/permit.ts'
import {
  newKey,
  newMember,
  newPerson,
  startTestControl,
  type TestControl,
  type TestMember,
  type TestPerson,
} from '../test/fixtures/control.ts'
import { leafOf } from '../test/fixtures/members.ts'
import type { DbCertificate, JsonObject, PermitRequest } from './api/messages.ts'

const HOUR = 3_600_000
const ORDERS = { kind: 'db', name: 'orders' } as const
const clock = new FakeClock(Date.now())

let control: TestControl
let proxy: TestMember
let alice: TestPerson

before(async () => {
  control = await startTestControl({ clock })
  proxy = await newMember(control, 'proxy')
  const agent = await newMember(control, 'agent')
  const targets = ['orders', 'hidden'].map((name) => ({
    kind: 'db' as const,
    name,
    protocol: 'postgres',
    labels: { env: name },
    description: '',
  }))
  await agent.client.call('inventory', { targets })
  const spec = {
    allow: { db_labels: { env: 'orders' }, db_users: ['app'], db_names: ['shop'] },
    options: { max_session_ttl: '30h' },
  }
  const role: JsonObject = { kind: 'role', version: 'v7', metadata: { name: 'dev' }, spec }
  await control.admin.call('resource-create', { kind: 'role', document: role })
  alice = await newPerson(control, 'alice', ['dev'], {}, clock)
})
after(() => control.remove())

async function record(mode: string): Promise<void> {
  const name = 'session-recording-config'
  const kind = 'session_recording_config'
  const document = { kind, version: 'v2', metadata: { name }, spec: { mode } }
  await control.admin.call('resource-put', { kind, name, document, force: true })
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'done'
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
}

describe('a certificate for a database', () => {
  const ask = (): Promise<DbCertificate> =>
    alice.client.call('certificate-db', { service: 'orders', publicKey: newKey().publicKey })
  const pems = (cas: readonly Uint8Array[]): readonly string[] =>
    cas.map((ca) => writePem('CERTIFICATE', ca))

  it('names agents, or the proxies themselves, as the recording mode is now', async () => {
    const { cas } = await control.signer.authorities()
    for (const mode of ['proxy', 'proxy-sync']) {
      await record(mode)
      const { mode: now, serverName, proxies, serverCas } = await ask()
      assert.deepEqual([now, serverName, proxies], ['terminate', 'proxy.test', ['proxy.test:443']])
      assert.deepEqual(serverCas, pems(cas.host))
      assert.equal((await alice.client.call('me', {})).mode, 'terminate')
    }
    for (const mode of ['off', 'node-sync', 'node']) {
      await record(mode)
      const { mode: now, serverName, serverCas } = await ask()
      assert.equal(now, 'relay')
      assert.match(serverName, /^[a-z0-9]{47}\.orders\.db\.sluice\.test$/)
      assert.deepEqual(serverCas, pems(cas.target))
      assert.equal((await alice.client.call('me', {})).mode, 'relay')
    }
  })

  it('names only proxies that are certified for the host they are dialled by', async () => {
    await record('proxy')
    const report = { linkedAgents: [] }
    await proxy.client.call('proxy-self', { ...report, address: 'moved.test:443' })
    assert.equal(await codeOf(ask()), 'config.invalid')
    await proxy.client.call('proxy-self', { ...report, address: 'PROXY.test:444' })
    const second = await newMember(control, 'proxy', { address: '192.0.2.1:443' })
    assert.deepEqual((await ask()).proxies, ['192.0.2.1:443', 'PROXY.test:444'])
    await newMember(control, 'proxy', { address: '192.0.2.1:3080' })
    assert.deepEqual((await ask()).proxies, ['192.0.2.1:443', 'PROXY.test:444'], 'a claimant')
    await second.client.call('proxy-self', { ...report, address: 'proxy.test:443' })
    assert.deepEqual((await ask()).proxies, ['PROXY.test:444'], 'another’s address')
  })
})

describe('a permit', () => {
  before(() => record('proxy'))
  const certificate = (): string => alice.certificate
  const ask = (over: Partial<PermitRequest> = {}, by: TestMember = proxy): Promise<Permit> =>
    by.client
      .call('permit', {
        userCertificate: writePem('CERTIFICATE', leafOf(certificate())),
        target: ORDERS,
        ...over,
      })
      .then(async ({ permit, expiresAtMs }) => {
        const { snapshot } = await control.signer.authorities()
        const read = readPermit(Buffer.from(permit, 'base64'), snapshot)
        if (read.permit === undefined) throw new Error(read.code)
        assert.equal(read.permit.expiresAtMs, expiresAtMs)
        return read.permit
      })

  it('is for this certificate, target and proxy, for an hour, and in the log', async () => {
    const permit = await ask()
    const { items } = await control.admin.call('audit-list', { types: 'permit.create' })
    assert.deepEqual(permit, {
      certificate: items[0]?.['certificate_fingerprint'],
      target: ORDERS,
      proxyId: proxy.id,
      expiresAtMs: clock.now() + HOUR,
    })
    assert.deepEqual(
      [items[0]?.['user'], items[0]?.['target_name'], items[0]?.['server_id']],
      ['alice', 'orders', proxy.id],
    )
    await ask({ principal: 'app' })
  })

  it('is not for what the person may not, and the denial is in the log', async () => {
    assert.equal(await codeOf(ask({ principal: 'root' })), 'policy.denied')
    const { items } = await control.admin.call('audit-list', { types: 'decision.deny' })
    assert.deepEqual([items[0]?.['user'], items[0]?.['server_id']], ['alice', proxy.id])
  })

  it('is refused alike for targets that are hidden, absent or of another kind', async () => {
    for (const target of [
      { kind: 'db', name: 'hidden' },
      { kind: 'db', name: 'absent' },
      { kind: 'app', name: 'orders' },
    ] as const)
      assert.equal(await codeOf(ask({ target })), 'resource.not-found')
  })

  it('is given to proxies alone', async () => {
    const agent = await newMember(control, 'agent')
    assert.equal(await codeOf(ask({}, agent)), 'policy.denied')
    const self = alice.client.call('permit', { userCertificate: certificate(), target: ORDERS })
    assert.equal(await codeOf(self), 'policy.denied')
  })

  it('is not given for a certificate that is routed elsewhere, or is no user’s of ours', async () => {
    const { publicKey } = newKey()
    const routed = await alice.client.call('certificate-db', {
      service: 'orders',
      publicKey,
      dbUser: 'root',
    })
    const shown = (chain: string): string => writePem('CERTIFICATE', leafOf(chain))
    assert.equal(await codeOf(ask({ userCertificate: shown(routed.certificate) })), 'policy.denied')
    assert.equal(await codeOf(ask({ userCertificate: shown(proxy.certificate) })), 'cert.chain')
  })

  it('is not given while sessions end at agents', async () => {
    await record('node')
    assert.equal(await codeOf(ask()), 'policy.denied')
    await record('proxy')
  })

  it('is not given to who is locked', async () => {
    const kind = 'lock'
    const document = {
      kind,
      version: 'v2',
      metadata: { name: 'l' },
      spec: { target: { user: 'alice' } },
    }
    await control.admin.call('resource-create', { kind, document })
    assert.equal(await codeOf(ask()), 'policy.denied')
    await control.admin.call('resource-delete', { kind, name: 'l' })
    await ask()
  })

  it('ends with the certificate, and is not given after it', async () => {
    const me = await alice.client.call('me', {})
    clock.advance(me.expiresAtMs - clock.now() - HOUR / 2)
    const late = await newMember(control, 'proxy', { address: 'late.test:443' })
    assert.equal((await ask({}, late)).expiresAtMs, me.expiresAtMs)
    clock.advance(HOUR / 2 + 1000)
    assert.equal(await codeOf(ask({}, late)), 'cert.expired')
  })
})
