// SSH certificates out of a whole control: what a login gets, what hosts are certified as, which nodes people see; over its API.

import assert from 'node:assert/strict'
import { after, describe, it } from 'node:test'

import { readSshCertificate, type SshCertificate } from '../core/cert/ssh.ts'
import { readSshPeer } from '../core/cert/ssh-identity.ts'
import { verifyPeer } from '../core/cert/verify.ts'
import { readPem } from '../core/cert/pem.ts'
import { errorCode } from '../core/errors.ts'
import { decodeSnapshot } from '../core/snapshot-codec.ts'
import {
  CLUSTER,
  loginWithSsh,
  newMember,
  newPerson,
  newSshKey,
  startTestControl,
  type TestMember,
} from '../test/fixtures/control.ts'

const control = await startTestControl()
after(() => control.remove())
const { ssh } = await control.signer.authorities()

const traits = { logins: ['alice', 'deploy', '*'] }
const alice = await newPerson(control, 'alice', ['access'], traits)
const bob = await newPerson(control, 'bob', ['auditor'], traits)

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64')
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
  const reply = await member.client.call('certificate-ssh-host', { publicKey: newSshKey() })
  return readSshCertificate(fromBase64(reply.certificate))
}

describe('a login', () => {
  it('with an SSH key gets a certificate for the same person, their logins and as long', async () => {
    const key = newSshKey()
    const reply = await loginWithSsh(control, alice, key)
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
    const reply = await loginWithSsh(control, bob, newSshKey())
    assert.deepEqual(reply.ssh?.logins, [])
    const { principals } = readSshCertificate(fromBase64(reply.ssh?.certificate ?? ''))
    assert.deepEqual(principals, ['-sluice-no-login'])
  })

  it('with what is no SSH key is refused before its code is used', async () => {
    const dave = await newPerson(control, 'dave', ['access'], traits)
    for (const wrong of [
      '',
      'AAAA',
      dave.certificate.slice(30, 90).replaceAll(/[^A-Za-z0-9]/g, ''),
    ])
      await assert.rejects(
        loginWithSsh(control, dave, Buffer.from(wrong).toString('base64')),
        (error) => errorCode(error) === 'cert.malformed',
      )
    assert.ok((await loginWithSsh(control, dave, newSshKey())).ssh !== undefined)
  })

  it('without an SSH key gets no SSH certificate', async () => {
    const carol = await newPerson(control, 'carol', ['access'], traits)
    const reply = await loginWithSsh(control, carol, undefined)
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
    const ask = alice.client.call('certificate-ssh-host', { publicKey: newSshKey() })
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

  it('is never called as a proxy is, nor by an id, which would certify it as them', async () => {
    await newMember(control, 'proxy', { address: `door.${CLUSTER}:443` })
    await newMember(control, 'proxy', { address: 'gate:443' })
    const agent = await newMember(control, 'agent', { services: ['node'] })
    const other = await newMember(control, 'agent', { services: ['node'] })
    assert.equal(await announce(agent, 'door'), '"door" is a name of the proxies')
    assert.equal(await announce(agent, 'gate'), '"gate" is a name of the proxies')
    assert.equal(await announce(agent, other.id), `"${other.id}" could be the id of an agent`)
    const { principals } = await hostCertificate(agent)
    assert.deepEqual(principals, [agent.id, `${agent.id}.${CLUSTER}`])
  })

  it('keeps its name from proxies, which could pose as it', async () => {
    const agent = await newMember(control, 'agent', { services: ['node'] })
    assert.equal(await announce(agent, 'inner'), 'inner')
    for (const host of ['inner', `inner.${CLUSTER}`]) {
      const proxy = await newMember(control, 'proxy', { address: `${host}:443` })
      const { principals } = await hostCertificate(proxy)
      assert.deepEqual(principals, [`${proxy.id}.${CLUSTER}`, CLUSTER])
    }
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
    const names = async (query: string): Promise<readonly string[]> =>
      (await alice.client.call('nodes', { query })).items.map(({ name }) => name)
    assert.deepEqual(await names('resource.kind == "node" && name == "web-1"'), ['web-1'])
    assert.deepEqual(await names('name == "web-1" && labels["env"] != "prod"'), [])
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

describe('the keys that certify', () => {
  const exported = async (type: 'user' | 'host' | 'openssh'): Promise<string> =>
    (await control.admin.call('auth-export', { type })).pem

  it('are exported as lines that OpenSSH’s files take', async () => {
    const line = (blob: Uint8Array | undefined): string =>
      `ssh-ed25519 ${base64(blob ?? new Uint8Array(0))} ${CLUSTER}\n`
    assert.equal(await exported('openssh'), line(ssh.openssh[0]))
    assert.equal(await exported('user'), `cert-authority ${line(ssh.user[0])}`)
    assert.equal(await exported('host'), `@cert-authority *.${CLUSTER} ${line(ssh.host[0])}`)
  })

  it('stand in the status beside those of TLS', async () => {
    const { authorities } = await control.admin.call('status', {})
    const rows = authorities.filter(({ protocol }) => protocol === 'ssh')
    assert.deepEqual(
      rows.map(({ type, algorithm }) => [type, algorithm]),
      [
        ['user', 'Ed25519'],
        ['host', 'Ed25519'],
        ['openssh', 'Ed25519'],
      ],
    )
  })
})

describe('a server an administrator looks after', () => {
  const sign = (hosts: readonly string[]): Promise<{ readonly certificate: string }> =>
    control.admin.call('auth-sign-ssh-host', { hosts, publicKey: newSshKey(), ttlMs: 3_600_000 })

  it('is certified under its own names', async () => {
    const { certificate } = await sign(['Old.example.com', '10.0.0.7'])
    const { principals, kind } = readSshCertificate(fromBase64(certificate))
    assert.equal(kind, 'host')
    assert.deepEqual(principals, ['old.example.com', '10.0.0.7'])
  })

  it('is never certified as an agent’s node or as a part of the cluster', async () => {
    const agent = await newMember(control, 'agent', { services: ['node'] })
    assert.equal(await announce(agent, 'mine'), 'mine')
    for (const name of ['mine', `mine.${CLUSTER}`, 'MINE'])
      await assert.rejects(sign([name]), (error) => errorCode(error) === 'resource.conflict', name)
    const proxy = await newMember(control, 'proxy', { address: `front.${CLUSTER}:443` })
    for (const name of [CLUSTER, agent.id, `${proxy.id}.${CLUSTER}`, `front.${CLUSTER}`])
      await assert.rejects(sign([name]), (error) => errorCode(error) === 'resource.conflict', name)
  })

  it('takes a right of its own', async () => {
    const request = { hosts: ['old.example.com'], publicKey: newSshKey(), ttlMs: 3_600_000 }
    const ask = alice.client.call('auth-sign-ssh-host', request)
    await assert.rejects(ask, (error) => errorCode(error) === 'policy.denied')
    const editor = await newPerson(control, 'ed', ['editor'])
    await editor.client.call('auth-sign-ssh-host', request)
  })
})
