// Servers without an agent: registered by resource, carried to proxies with their address, and reached with a certificate of minutes
// that control gives a proxy for one login. And permits for SSH certificates, for nodes behind a proxy that ends the session.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { readSshCertificate } from '../core/cert/ssh.ts'
import { FakeClock } from '../core/clock.ts'
import { errorCode } from '../core/errors.ts'
import { decodeInventory } from '../core/snapshot-codec.ts'
import { readPermit } from '../core/permit.ts'
import type { Target } from '../core/snapshot.ts'
import {
  loginWithSsh,
  newMember,
  newPerson,
  newSshKey,
  startTestControl,
  type TestControl,
  type TestMember,
  type TestPerson,
} from '../test/fixtures/control.ts'
import { leafOf } from '../test/fixtures/members.ts'
import { writePem } from '../core/cert/pem.ts'
import type { JsonObject, OpensshRequest, PermitRequest } from './api/messages.ts'

const clock = new FakeClock(Date.now())
const OLD = server('old', { addr: '10.0.0.7', hostname: 'old.example.com' }, { env: 'prod' })

let control: TestControl
let proxy: TestMember
let agent: TestMember
let alice: TestPerson
/** Alice’s SSH certificate, base64. */
let shown: string

before(async () => {
  control = await startTestControl({ clock })
  proxy = await newMember(control, 'proxy')
  agent = await newMember(control, 'agent', { services: ['node'] })
  const spec = {
    allow: { node_labels: { env: 'prod' }, logins: ['root', 'deploy'] },
    deny: { logins: ['admin'] },
    options: {
      forward_agent: true,
      ssh_port_forwarding: { remote: { enabled: false }, local: { enabled: false } },
    },
  }
  const role: JsonObject = { kind: 'role', version: 'v7', metadata: { name: 'ops' }, spec }
  await control.admin.call('resource-create', { kind: 'role', document: role })
  alice = await newPerson(control, 'alice', ['ops'], {}, clock)
  shown = (await loginWithSsh(control, alice, newSshKey(), clock)).ssh?.certificate ?? ''
  await create(OLD)
  await announce(agent, 'web-1')
})
after(() => control.remove())

function server(
  name: string,
  spec: JsonObject,
  labels: Readonly<Record<string, string>> = {},
): JsonObject {
  return { kind: 'node', sub_kind: 'openssh', version: 'v2', metadata: { name, labels }, spec }
}

async function create(document: JsonObject): Promise<readonly string[]> {
  return (await control.admin.call('resource-create', { kind: 'node', document })).warnings
}

async function announce(member: TestMember, name: string): Promise<string> {
  const target = {
    kind: 'node',
    name,
    protocol: 'ssh',
    labels: { env: 'prod' },
    description: '',
  } as const
  const { accepted, refused } = await member.client.call('inventory', { targets: [target] })
  return accepted[0]?.name ?? refused[0]?.reason ?? 'nothing'
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'ok'
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
}

async function record(mode: string): Promise<void> {
  const name = 'session-recording-config'
  const kind = 'session_recording_config'
  const document = { kind, version: 'v2', metadata: { name }, spec: { mode } }
  await control.admin.call('resource-put', { kind, name, document, force: true })
}

/** What proxies are told of a target, once it is told. */
async function toldOf(name: string): Promise<Target | 'removed'> {
  const from = await newMember(control, 'proxy', { address: `${name}.proxy.test:443` })
  for await (const item of from.client.stream('watch', { class: 'proxy' })) {
    if (item.type !== 'inventory') continue
    const body = decodeInventory(Buffer.from(item.body, 'base64'))
    if (body.kind === 'base') continue
    const found = body.put.find(({ ref }) => ref.name === name)
    if (found !== undefined) return found
    if (body.remove.some((ref) => ref.name === name)) return 'removed'
  }
  throw new Error('the watch ended')
}

describe('a server without an agent', () => {
  it('is told to proxies with its address, and of its end', async () => {
    const told = await toldOf('old.example.com')
    assert.ok(told !== 'removed')
    assert.equal(told.address, '10.0.0.7:22')
    assert.deepEqual(told.agents, [])
    assert.deepEqual(told.labels, { env: 'prod' })
    await create(server('brief', { addr: '10.0.0.8:2222' }))
    await control.admin.call('resource-delete', { kind: 'node', name: 'brief' })
    assert.equal(await toldOf('brief'), 'removed')
  })

  it('is listed for people by its host name, with the logins they have there', async () => {
    const { items } = await alice.client.call('nodes', { search: 'old' })
    assert.deepEqual(items, [
      {
        id: 'old.example.com',
        name: 'old.example.com',
        address: '10.0.0.7:22',
        labels: { env: 'prod' },
        logins: ['deploy', 'root'],
        online: true,
        subKind: 'openssh',
      },
    ])
  })

  it('has a name that nobody else has, below no cluster, and an address', async () => {
    const refusals: readonly (readonly [JsonObject, RegExp])[] = [
      [server('other', { addr: 'x', hostname: 'old.example.com' }), /the node old is called so/],
      [server('other', { addr: 'x', hostname: 'web-1' }), /an agent has the name "web-1"/],
      [server('other', { addr: 'x', hostname: 'a.sluice.test' }), /names below the cluster/],
      [server('other', { addr: 'x', hostname: 'A B' }), /expected a DNS name/],
      [server('Other', { addr: 'x' }), /expected a DNS name/],
      [server('other', { hostname: 'other' }), /spec.addr: missing/],
      [server('other', { addr: 'ssh://x' }), /expected host:port/],
      [{ ...server('other', { addr: 'x' }), sub_kind: '' }, /announces itself/],
      [{ ...server('other', { addr: 'x' }), sub_kind: 'openssh-ec2-ice' }, /expected one of/],
    ]
    for (const [document, message] of refusals) await assert.rejects(create(document), message)
  })

  it('keeps its name from agents', async () => {
    const other = await newMember(control, 'agent', { services: ['node'] })
    await create(server('taken', { addr: '10.0.0.9' }))
    assert.match(await announce(other, 'taken'), /belongs to a node resource/)
  })
})

describe('a node with an agent', () => {
  it('is got as a resource, and removed to free its name for another agent', async () => {
    const gone = await newMember(control, 'agent', { services: ['node'] })
    const next = await newMember(control, 'agent', { services: ['node'] })
    assert.equal(await announce(gone, 'web-7'), 'web-7')
    const { document } = await control.admin.call('resource-get', { kind: 'node', name: 'web-7' })
    assert.deepEqual(document['spec'], { addr: '', hostname: 'web-7' })
    assert.match(await announce(next, 'web-7'), /belongs to another agent/)
    await control.admin.call('resource-delete', { kind: 'node', name: 'web-7' })
    assert.equal(await announce(next, 'web-7'), 'web-7')
    const { items } = await control.admin.call('resource-list', { kind: 'nodes' })
    const names = items.map(({ metadata }) => (metadata as JsonObject)['name'])
    assert.ok(names.includes('web-7') && names.includes('old'))
    const { items: events } = await control.admin.call('audit-list', { types: 'node.delete' })
    assert.ok(events.some((event) => event['server_hostname'] === 'web-7'))
  })
})

it('a resource comes before an announced node of its own name', async () => {
  await create(server('web-1', { addr: '10.0.0.10', hostname: 'elsewhere.example.com' }))
  const { document } = await control.admin.call('resource-get', { kind: 'node', name: 'web-1' })
  assert.equal(document['sub_kind'], 'openssh')
  await control.admin.call('resource-delete', { kind: 'node', name: 'web-1' })
  const left = await control.admin.call('resource-get', { kind: 'node', name: 'web-1' })
  assert.deepEqual(left.document['spec'], { addr: '', hostname: 'web-1' })
})

describe('a certificate towards a server', () => {
  const ask = (
    over: Partial<OpensshRequest> = {},
    by = proxy,
  ): ReturnType<typeof by.client.call<'certificate-openssh'>> =>
    by.client.call('certificate-openssh', {
      userCertificate: shown,
      target: 'old.example.com',
      principal: 'root',
      publicKey: newSshKey(),
      ...over,
    })

  it('is for one login, five minutes, and what the roles grant there', async () => {
    const publicKey = newSshKey()
    const reply = await ask({ publicKey })
    const certificate = readSshCertificate(Buffer.from(reply.certificate, 'base64'))
    const { ssh } = await control.signer.authorities()
    assert.deepEqual(certificate.caKey, Buffer.from(ssh.openssh[0] ?? ''))
    assert.deepEqual(certificate.principals, ['root'])
    assert.equal(certificate.keyId, 'alice')
    assert.equal(Buffer.from(certificate.key).toString('base64'), publicKey)
    assert.deepEqual(Object.keys(certificate.extensions).sort(), [
      'permit-agent-forwarding',
      'permit-pty',
    ])
    assert.ok(reply.expiresAtMs <= clock.now() + 5 * 60_000)
    const { items } = await control.admin.call('audit-list', { types: 'cert.create' })
    const event = items.find((item) => item['cert_type'] === 'openssh')
    assert.equal(event?.['route'], 'node/old.example.com as root')
  })

  it('is refused for a login no role allows, or that the certificate does not have, and audited', async () => {
    assert.equal(await codeOf(ask({ principal: 'admin' })), 'policy.denied')
    const wide = await newPerson(control, 'wide', ['ops'], {}, clock)
    const identity = {
      type: 'user',
      kind: 'human',
      issuer: 'local',
      name: 'wide',
      cluster: 'sluice.test',
      roles: ['ops'],
      traits: {},
      generation: 1,
    } as const
    const request = {
      identity,
      publicKey: Buffer.from(newSshKey(), 'base64'),
      logins: ['admin'],
      ttlMs: 60_000,
    }
    const permits = { agentForwarding: false, portForwarding: false, x11: false }
    const issued = await control.signer.sshUser({ ...request, permits })
    const userCertificate = Buffer.from(issued.certificate).toString('base64')
    assert.equal(wide.user, 'wide')
    // A login that the certificate has and the roles deny; and one that the roles allow and the certificate has not.
    assert.equal(await codeOf(ask({ userCertificate, principal: 'admin' })), 'policy.denied')
    assert.equal(await codeOf(ask({ userCertificate, principal: 'root' })), 'policy.denied')
    const { items } = await control.admin.call('audit-list', { types: 'decision.deny' })
    assert.ok(items.some((item) => item['user'] === 'wide' && item['login'] === 'admin'))
  })

  it('is for no node with an agent, and for none that does not exist or is hidden', async () => {
    assert.equal(await codeOf(ask({ target: 'web-1' })), 'policy.denied')
    assert.equal(await codeOf(ask({ target: 'nowhere' })), 'policy.denied')
    assert.equal(await codeOf(ask({ target: 'taken' })), 'resource.not-found')
  })

  it('is given to proxies alone, for certificates of people alone', async () => {
    assert.equal(await codeOf(ask({}, agent)), 'policy.denied')
    const { certificate: ofHost } = await agent.client.call('certificate-ssh-host', {
      publicKey: newSshKey(),
    })
    assert.equal(await codeOf(ask({ userCertificate: ofHost })), 'cert.purpose')
    const { certificate: own } = await ask()
    assert.equal(await codeOf(ask({ userCertificate: own })), 'cert.chain')
    const garbage = Buffer.from('x').toString('base64')
    assert.equal(await codeOf(ask({ userCertificate: garbage })), 'cert.malformed')
  })

  it('is refused at once when the person, the login or the node is locked', async () => {
    for (const target of [{ user: 'alice' }, { login: 'root' }, { node: 'old.example.com' }]) {
      const document: JsonObject = {
        kind: 'lock',
        version: 'v2',
        metadata: { name: 'l' },
        spec: { target },
      }
      await control.admin.call('resource-create', { kind: 'lock', document })
      assert.equal(await codeOf(ask()), 'policy.denied', JSON.stringify(target))
      await control.admin.call('resource-delete', { kind: 'lock', name: 'l' })
    }
    assert.equal(await codeOf(ask()), 'ok')
  })
})

describe('a permit for an SSH certificate', () => {
  const ask = (over: Partial<PermitRequest> = {}): Promise<{ readonly permit: string }> =>
    proxy.client.call('permit', {
      userSshCertificate: shown,
      target: { kind: 'node', name: 'web-1' },
      principal: 'root',
      ...over,
    })

  it('is given while proxies end sessions, for the certificate’s own bytes', async () => {
    assert.equal(await codeOf(ask()), 'policy.denied')
    await record('proxy')
    const { permit: text } = await ask()
    await record('node')
    const { snapshot } = await control.signer.authorities()
    const { permit } = readPermit(Buffer.from(text, 'base64'), snapshot)
    assert.equal(permit?.proxyId, proxy.id)
    assert.deepEqual(permit.target, { kind: 'node', name: 'web-1' })
    const { hash } = await import('node:crypto')
    assert.equal(permit.certificate, hash('sha256', Buffer.from(shown, 'base64'), 'hex'))
  })

  it('is given in every mode for a server that has no agent', async () => {
    assert.equal(await codeOf(ask({ target: { kind: 'node', name: 'old.example.com' } })), 'ok')
  })

  it('is for no database, and for one certificate', async () => {
    await record('proxy')
    const pem = writePem('CERTIFICATE', leafOf(alice.certificate))
    const db = { target: { kind: 'db', name: 'x' } } as const
    assert.equal(await codeOf(ask(db)), 'resource.invalid')
    assert.equal(await codeOf(ask({ userCertificate: pem })), 'resource.invalid')
    const { userSshCertificate: _, ...rest } = { userSshCertificate: '', userCertificate: pem }
    const node = { target: { kind: 'node', name: 'web-1' } } as const
    assert.equal(
      await codeOf(proxy.client.call('permit', { ...rest, ...node })),
      'resource.invalid',
    )
    await record('node')
  })
})
