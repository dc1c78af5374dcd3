// SSH certificates of the signer: OpenSSH's own ssh-keygen reads them as what they are for; then each template is asked for everything
// it is not for. Over the same lines that cross the socket, so that nothing gets lost on the way.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, describe, test } from 'node:test'

import { generateKey } from '../../core/cert/key.ts'
import { readSshCertificate, type SshCertificate } from '../../core/cert/ssh.ts'
import { readSshPeer, sshFactsOf } from '../../core/cert/ssh-identity.ts'
import { FakeClock } from '../../core/clock.ts'
import { errorCode } from '../../core/errors.ts'
import type { UserIdentity } from '../../core/identity.ts'
import { CLUSTER, userIdentity } from '../../test/fixtures/certificates.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { run } from '../../test/fixtures/processes.ts'
import type {
  SignerApi,
  SshHostRequest,
  SshIssued,
  SshOpensshRequest,
  SshUserRequest,
} from './api.ts'
import { decodeAnswer, decodeRequest, encodeAnswer, encodeRequest, signerApi } from './protocol.ts'
import { openRequests } from './signer.ts'
import { sshBlobOf } from './ssh-key.ts'

const clock = new FakeClock(Date.UTC(2026, 10, 20))
const HOUR = 3_600_000
const DAY = 24 * HOUR
const key = sshBlobOf(generateKey('ed25519').signer.spki)
const NONE = { agentForwarding: false, portForwarding: false, x11: false }
const ALL = { agentForwarding: true, portForwarding: true, x11: true }
const agentId = randomUUID()

const folder = await temporaryFolder({ after })
const options = { folder, cluster: CLUSTER, insecureKeys: true, clock }

/** A signer behind its lines. */
async function open(): Promise<SignerApi> {
  const requests = await openRequests(options)
  return signerApi({
    async ask(request) {
      const line = encodeAnswer(1, requests(decodeRequest(encodeRequest(1, request)).request))
      const decoded = decodeAnswer(line)
      if ('error' in decoded) throw decoded.error
      return decoded.answer
    },
    close: async () => {},
  })
}

const signer = await open()
const { ssh, snapshot, audit } = await signer.authorities()

const refused = (error: unknown): boolean => errorCode(error) === 'signer.refused'
const refusedSomehow = (error: unknown): boolean =>
  ['signer.refused', 'cert.identity', 'cert.malformed'].includes(errorCode(error) ?? '')

function user(over: Partial<SshUserRequest> = {}): Promise<SshIssued> {
  return signer.sshUser({
    identity: userIdentity(),
    publicKey: key,
    logins: ['root', 'deploy'],
    permits: NONE,
    ttlMs: HOUR,
    ...over,
  })
}

function host(over: Partial<SshHostRequest> = {}): Promise<SshIssued> {
  const hosts = ['web-1', `web-1.${CLUSTER}`]
  return signer.sshHost({ id: agentId, publicKey: key, hosts, ttlMs: 7 * DAY, ...over })
}

function openssh(over: Partial<SshOpensshRequest> = {}): Promise<SshIssued> {
  return signer.sshOpenssh({ user: 'alice', publicKey: key, login: 'root', permits: NONE, ...over })
}

/** What every certificate must be, whatever was asked for. */
function sound(issued: SshIssued): SshCertificate {
  const certificate = readSshCertificate(issued.certificate)
  assert.deepEqual(certificate.key, Buffer.from(key))
  assert.deepEqual(certificate.critical, {})
  assert.ok(certificate.serial > 0n && certificate.serial < 1n << 63n)
  assert.equal(certificate.validAfter, BigInt(clock.now() / 1000 - 60))
  assert.deepEqual(issued.facts, sshFactsOf(certificate))
  return certificate
}

/** The fields as ssh-keygen names them; it says nothing of a certificate whose signature is wrong. */
async function keygen({ certificate }: SshIssued): Promise<string> {
  const file = join(folder, 'seen-cert.pub')
  const text = Buffer.from(certificate).toString('base64')
  writeFileSync(file, `ssh-ed25519-cert-v01@openssh.com ${text}\n`)
  const { stdout } = await run('ssh-keygen', ['-L', '-f', file])
  return stdout.replaceAll(/\n\s+/g, '\n')
}

describe('of a person', () => {
  test('ssh-keygen reads a user certificate with the logins, the name and the permits', async () => {
    const issued = await user({ permits: ALL })
    const certificate = sound(issued)
    const seen = await keygen(issued)
    assert.match(seen, /user certificate\n/)
    assert.match(seen, /\nKey ID: "alice"\n/)
    assert.match(seen, new RegExp(`\\nSerial: ${certificate.serial}\\n`))
    assert.match(seen, /\nPrincipals: ?\nroot\ndeploy\n/)
    assert.match(seen, /\nCritical Options: \(none\)\n/)
    for (const name of ['permit-pty', 'permit-agent-forwarding', 'permit-port-forwarding'])
      assert.match(seen, new RegExp(`\\n${name}\\n`))
    assert.match(seen, /\npermit-X11-forwarding\n/)
    assert.deepEqual(certificate.caKey, Buffer.from(ssh.user[0] ?? ''))
  })

  test('permits a terminal alone when no role permits more', async () => {
    const { extensions } = sound(await user())
    assert.deepEqual(Object.keys(extensions).sort(), ['identity@sluice', 'permit-pty'])
  })

  test('reads back as exactly the person, for as long as asked', async () => {
    const identity = userIdentity({ roles: ['access'], traits: { logins: ['root'] } })
    const issued = await user({ identity, ttlMs: 30 * HOUR })
    const read = readSshPeer(issued.certificate, {
      cas: ssh.user,
      cluster: CLUSTER,
      nowMs: clock.now(),
    })
    assert.ok(read.ok)
    assert.deepEqual(read.identity, identity)
    assert.deepEqual(read.principals, ['root', 'deploy'])
    assert.equal(read.facts.notAfterMs, clock.now() + 30 * HOUR)
  })

  test('without a login names a principal nobody can have, never none', async () => {
    assert.deepEqual(sound(await user({ logins: [] })).principals, ['-sluice-no-login'])
  })

  test('refuses patterns, options and lists for logins, and too many of them', async () => {
    for (const login of ['', '*', 'ro*t', 'a b', 'a,b', '-l', 'a\0', 'x'.repeat(129), '!root'])
      await assert.rejects(user({ logins: [login] }), refused, login)
    await assert.rejects(user({ logins: ['a', 'a'] }), refused)
    const many = Array.from({ length: 257 }, (_, at) => `u${at}`)
    await assert.rejects(user({ logins: many }), refused)
    await user({ logins: many.slice(1) })
  })

  test('refuses another cluster, a process, and a second factor of the future', async () => {
    const ask = (over: Partial<UserIdentity>): Promise<SshIssued> =>
      user({ identity: userIdentity(over) })
    await assert.rejects(ask({ cluster: 'other.test' }), refused)
    await assert.rejects(ask({ mfaAtMs: clock.now() + 60_001 }), refused)
    await assert.rejects(ask({ traits: { groups: ['x'.repeat(9000)] } }), refusedSomehow)
  })

  test('refuses a lifetime over 30 hours, of nothing, or of no number', async () => {
    for (const ttlMs of [30 * HOUR + 1, 999, 0]) await assert.rejects(user({ ttlMs }), refused)
  })
})

describe('of a host', () => {
  test('ssh-keygen reads a host certificate with the names and nothing else', async () => {
    const issued = await host()
    const certificate = sound(issued)
    const seen = await keygen(issued)
    assert.match(seen, /host certificate\n/)
    assert.match(seen, new RegExp(`\\nPrincipals: ?\\nweb-1\\nweb-1.${CLUSTER}\\n`))
    assert.match(seen, /\nExtensions: \(none\)\n/)
    assert.deepEqual(certificate.caKey, Buffer.from(ssh.host[0] ?? ''))
  })

  test('refuses patterns, which stand for every host, no name at all, and more than a week', async () => {
    for (const name of ['*', '*.example.com', 'web?', 'a b', 'a,b', ''])
      await assert.rejects(host({ hosts: [name] }), refused, name)
    await assert.rejects(host({ hosts: [] }), refused)
    await assert.rejects(host({ ttlMs: 7 * DAY + 1000 }), refused)
  })

  test('gives an enrolled server a year, and no name of a part of the cluster', async () => {
    sound(await host({ enrolled: true, hosts: ['old.example.com', '10.0.0.7'], ttlMs: 366 * DAY }))
    await assert.rejects(host({ enrolled: true, ttlMs: 367 * DAY }), refused)
    for (const name of [CLUSTER, agentId, `${agentId}.${CLUSTER}`])
      await assert.rejects(host({ enrolled: true, hosts: [name] }), refused, name)
  })
})

describe('towards a server without an agent', () => {
  test('is for one login and five minutes', async () => {
    const issued = await openssh()
    const certificate = sound(issued)
    assert.deepEqual(certificate.principals, ['root'])
    assert.equal(issued.facts.notAfterMs, clock.now() + 5 * 60_000)
    assert.deepEqual(Object.keys(certificate.extensions), ['permit-pty'])
    assert.match(await keygen(issued), /user certificate\n/)
    assert.deepEqual(certificate.caKey, Buffer.from(ssh.openssh[0] ?? ''))
  })

  test('is no certificate of a person to ours, whoever its key id names', async () => {
    const { certificate } = await openssh()
    const nowMs = clock.now()
    for (const cas of [ssh.user, ssh.openssh])
      assert.equal(readSshPeer(certificate, { cas, cluster: CLUSTER, nowMs }).ok, false)
  })

  test('refuses more than five minutes and a login that is none', async () => {
    await assert.rejects(openssh({ ttlMs: 5 * 60_000 + 1000 }), refused)
    for (const login of ['', '*', '-sluice-no-login'])
      await assert.rejects(openssh({ login }), refused)
  })
})

test('no template certifies a key of the signer’s own, a certificate, or no key', async () => {
  const own = [...ssh.user, ...ssh.host, ...ssh.openssh, ...[...snapshot, ...audit].map(sshBlobOf)]
  for (const publicKey of own) {
    await assert.rejects(user({ publicKey }), refused)
    await assert.rejects(host({ publicKey }), refused)
    await assert.rejects(openssh({ publicKey }), refused)
  }
  const { certificate } = await user()
  for (const publicKey of [certificate, new Uint8Array(), Buffer.from('ssh-ed25519')])
    await assert.rejects(user({ publicKey }), refusedSomehow)
})

test('a signer that is started on the folder of an older one makes the keys it lacks', async () => {
  for (const name of ['user_ssh', 'host_ssh']) rmSync(join(folder, `${name}.key`))
  const after = await (await open()).authorities()
  assert.notDeepEqual(after.ssh.user, ssh.user)
  assert.notDeepEqual(after.ssh.host, ssh.host)
  assert.deepEqual(after.ssh.openssh, ssh.openssh)
  assert.deepEqual((await (await open()).authorities()).ssh, after.ssh)
})
