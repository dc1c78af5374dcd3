// SSH certificates out of a whole control: what a login gets, what hosts are certified as, which nodes people see; over its API.

import assert from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { after, describe, it } from 'node:test'

import { readSshCertificate, type SshCertificate } from '../core/cert/ssh.ts'
import { readSshPeer } from '../core/cert/ssh-identity.ts'
import { verifyPeer } from '../core/cert/verify.ts'
import { readPem } from '../core/cert/pem.ts'
import { errorCode } from '../core/errors.ts'
import { decodeSnapshot } from '../core/snapshot-codec.ts'
import { publicBlob } from '../core/ssh/key.ts'
import {
  CLUSTER,
  newKey,
  newMember,
  newPerson,
  startTestControl,
  type TestMember,
  type TestPerson,
} from '../test/fixtures/control.ts'
import type { LoginReply } from './api/messages.ts'
import { totpCode } from './login/totp.ts'

const control = await startTestControl()
after(() => control.remove())
const { ssh } = await control.signer.authorities()

const traits = { logins: ['alice', 'deploy', '*'] }
const alice = await newPerson(control, 'alice', ['access'], traits)
const bob = await newPerson(control, 'bob', ['auditor'], traits)

function newBlob(): string {
  return base64(publicBlob(generateKeyPairSync('ed25519').publicKey))
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64')
}

/** With the code after the one that `newPerson` used: each person can do it once. */
async function login(person: TestPerson, sshPublicKey?: string): Promise<LoginReply> {
  const step = Math.floor(Date.now() / 30_000) + 1
  return await control.client().call('login', {
    user: person.user,
    password: person.password,
    otp: totpCode(person.secret, step),
    publicKey: newKey().publicKey,
    ...(sshPublicKey === undefined ? {} : { sshPublicKey }),
  })
}

async function announce(agent: TestMember, name: string): Promise<string> {
  const target = {
    kind: 'node',
    name,
    protocol: 'ssh',
    labels: { env: 'prod' },
    description: '',
  } as const
  const { accepted, refused } = await agent.client.call('inventory', { targets: [target] })
  return accepted[0]?.name ?? refused[0]?.reason ?? 'nothing'
}

async function hostCertificate(member: TestMember): Promise<SshCertificate> {
  const reply = await member.client.call('certificate-ssh-host', { publicKey: newBlob() })
  return readSshCertificate(fromBase64(reply.certificate))
}

describe('a login', () => {
  it('with an SSH key gets a certificate for the same person, their logins and as long', async () => {
    const key = newBlob()
    const reply = await login(alice, key)
    assert.ok(reply.ssh !== undefined)
    assert.deepEqual(reply.ssh.logins, ['alice', 'deploy'])
    assert.deepEqual(reply.ssh.hostCas, ssh.host.map(base64))
    const wanted = { cas: ssh.user, cluster: CLUSTER, nowMs: Date.now() }
    const read = readSshPeer(fromBase64(reply.ssh.certificate), wanted)
    assert.ok(read.ok)
    assert.deepEqual(read.principals, ['alice', 'deploy'])
    assert.equal(base64(read.key), key)
    const { cas } = await control.signer.authorities()
    const expected = { cas: cas.user, purpose: 'client', type: 'user', cluster: CLUSTER } as const
    const x509 = verifyPeer(
      readPem('CERTIFICATE', reply.certificate).slice(0, 1),
      expected,
      Date.now(),
    )
    assert.ok(x509.ok)
    assert.deepEqual(read.identity, x509.identity)
    assert.equal(read.facts.notAfterMs, x509.facts.notAfterMs)
  })

  it('of somebody whose roles allow no node gets a certificate that opens none', async () => {
    const reply = await login(bob, newBlob())
    assert.deepEqual(reply.ssh?.logins, [])
    const { principals } = readSshCertificate(fromBase64(reply.ssh?.certificate ?? ''))
    assert.deepEqual(principals, ['-sluice-no-login'])
  })

  it('without an SSH key gets no SSH certificate', async () => {
    const reply = await login(await newPerson(control, 'carol', ['access'], traits))
    assert.equal(reply.ssh, undefined)
  })

  it('is told in the audit log, with the serial that ssh-keygen shows', async () => {
    const { items } = await control.admin.call('audit-list', { types: 'cert.create' })
    const event = items.find(
      (item) => item['cert_type'] === 'user_ssh' && item['identity'] === 'local/alice',
    )
    assert.equal(event?.['route'], 'alice deploy')
    const serial = event['certificate_serial']
    assert.ok(typeof serial === 'string' && /^[0-9a-f]{1,16}$/.test(serial))
  })
})

describe('a host', () => {
  it('is certified as its nodes and its id, with and without the cluster', async () => {
    const agent = await newMember(control, 'agent', { services: ['node'] })
    assert.equal(await announce(agent, 'web-1'), 'web-1')
    const { kind, principals, keyId } = await hostCertificate(agent)
    assert.equal(kind, 'host')
    assert.equal(keyId, agent.id)
    const names = ['web-1', agent.id]
    assert.deepEqual(
      principals,
      names.flatMap((name) => [name, `${name}.${CLUSTER}`]),
    )
  })

  it('that is an agent of databases is certified as itself alone', async () => {
    const agent = await newMember(control, 'agent')
    assert.deepEqual((await hostCertificate(agent)).principals, [
      agent.id,
      `${agent.id}.${CLUSTER}`,
    ])
  })

  it('that is a proxy is certified as its public name, its id and the cluster', async () => {
    const proxy = await newMember(control, 'proxy', { address: 'ssh.example.com:443' })
    const { principals } = await hostCertificate(proxy)
    assert.deepEqual(principals, ['ssh.example.com', `${proxy.id}.${CLUSTER}`, CLUSTER])
  })

  it('is never a person', async () => {
    const ask = alice.client.call('certificate-ssh-host', { publicKey: newBlob() })
    await assert.rejects(ask, (error) => errorCode(error) === 'policy.denied')
  })
})

describe('a node', () => {
  it('belongs to one agent: another is refused, of the same token too, and shown', async () => {
    const { token } = await control.admin.call('token-create', {
      roles: ['node'],
      name: 'a-token-that-lasts-0123456789',
      targets: ['db-1'],
    })
    const first = await newMember(control, 'agent', { services: ['node'], token })
    assert.equal(await announce(first, 'db-1'), 'db-1')
    const second = await newMember(control, 'agent', { services: ['node'] })
    assert.match(await announce(second, 'db-1'), /^"db-1" belongs to another agent/)
    assert.equal(await announce(first, 'db-1'), 'db-1')
    const { items } = await control.admin.call('targets', {})
    const row = items.find(({ name }) => name === 'db-1')
    assert.deepEqual(row?.agents, [first.id])
    assert.deepEqual(
      row.refused.map(({ agent }) => agent),
      [second.id],
    )
    assert.deepEqual((await hostCertificate(second)).principals, [
      second.id,
      `${second.id}.${CLUSTER}`,
    ])
  })

  it('is one DNS label, and only of an agent whose token is for nodes', async () => {
    const agent = await newMember(control, 'agent', { services: ['node'] })
    assert.match(await announce(agent, 'a.example.com'), /^A node name is one DNS label/)
    const other = await newMember(control, 'agent')
    assert.equal(await announce(other, 'web-9'), 'the agent’s token is not for node')
  })

  it('is listed for whom a role shows it, with their logins there', async () => {
    const { items } = await alice.client.call('nodes', {})
    const found = items.find(({ name }) => name === 'web-1')
    assert.deepEqual(found?.logins, ['alice', 'deploy'])
    assert.equal(found.online, true)
    assert.equal(found.subKind, '')
    assert.deepEqual(found.labels, { env: 'prod' })
    assert.deepEqual((await bob.client.call('nodes', {})).items, [])
    const page = await alice.client.call('nodes', { search: 'web', limit: 1 })
    assert.deepEqual(
      page.items.map(({ name }) => name),
      ['web-1'],
    )
  })
})

it('snapshots of both classes carry the keys that certify', async () => {
  const proxy = await newMember(control, 'proxy', { address: 'other.example.com:443' })
  const seen = new Set<string>()
  for await (const item of proxy.client.stream('watch', { class: 'proxy' })) {
    if (item.type !== 'snapshot') continue
    const snapshot = decodeSnapshot(fromBase64(item.body))
    assert.deepEqual(snapshot.ssh?.user.map(base64), ssh.user.map(base64))
    assert.deepEqual(snapshot.ssh.host.map(base64), ssh.host.map(base64))
    assert.deepEqual(snapshot.ssh.openssh.map(base64), ssh.openssh.map(base64))
    seen.add(snapshot.class)
    if (seen.size === 2) break
  }
})
