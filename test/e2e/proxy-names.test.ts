// The certificate a proxy ends TLS with in terminate mode, judged by those who will see it: psql 15 and libpq 18 with the settings
// that tsh writes, and openssl. The server behind it is a PostgreSQL that borrows the proxy's key pair.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import { carriesHost, type HostIdentity } from '../../cli/roles/identity.ts'
import { Member } from '../../cli/roles/member.ts'
import { serviceSettings, waysOf } from '../../cli/service-settings.ts'
import type { DbCertificate } from '../../control/api/messages.ts'
import { silentLogger } from '../../core/log.ts'
import { conninfoOf } from '../fixtures/cluster.ts'
import {
  dial,
  newKey,
  newMember,
  newPerson,
  newToken,
  startTestControl,
  type TestControl,
  type TestPerson,
} from '../fixtures/control.ts'
import { type Cleanup, openFolder, privateFile, suiteCleanup } from '../fixtures/files.ts'
import { freePort } from '../fixtures/net.ts'
import { startTestPostgres } from '../fixtures/postgres.ts'
import { type Output, run } from '../fixtures/processes.ts'
import { psql } from '../fixtures/psql.ts'
import { until } from '../fixtures/sockets.ts'

const SECRET = 'a-static-secret-for-proxies'

let control: TestControl
let alice: TestPerson
let folder: string

before(async () => {
  control = await startTestControl({
    yaml: `sluice: { insecure_keys: true }\nauth_service: { tokens: ["proxy:${SECRET}"], session_recording: proxy }\n`,
  })
  const agent = await newMember(control, 'agent', { token: await newToken(control, ['db']) })
  const orders = {
    kind: 'db',
    name: 'orders',
    protocol: 'postgres',
    labels: {},
    description: '',
  } as const
  await agent.client.call('inventory', { targets: [orders] })
  alice = await newPerson(control, 'alice', ['access'], { db_users: ['app'], db_names: ['*'] })
  folder = await openFolder({ after })
})
after(() => control.remove())

/** A proxy's identity as its process opens it, in one folder whatever its address. */
async function proxyAt(address: string): Promise<Member> {
  return await Member.open({
    folder,
    connect: () => dial(control.handle.port),
    pins: control.handle.pins,
    join: { role: 'proxy', token: SECRET, hostname: 'h', services: ['proxy'], address },
    log: silentLogger,
  })
}

async function namesOf(certificate: string): Promise<string> {
  const { stdout } = await run('openssl', ['x509', '-noout', '-ext', 'subjectAltName'], {
    input: certificate,
  })
  return stdout.replace(/.*\n/, '').trim()
}

/** What openssl says of the certificate under this name, with the only root that clients get. */
async function verify(certificate: string, args: readonly string[]): Promise<string> {
  const { serverCas } = await access()
  const ca = await privateFile(folder, 'root', serverCas.join(''))
  const all = ['verify', '-CAfile', ca, '-purpose', 'sslserver', '-x509_strict', ...args]
  const { stdout, stderr } = await run('openssl', all, { input: certificate })
  return `${stdout}${stderr}`.trim()
}

async function access(): Promise<DbCertificate & { readonly key: string }> {
  const { key, publicKey } = newKey()
  return { ...(await alice.client.call('certificate-db', { service: 'orders', publicKey })), key }
}

/** A server on the public address that shows what the proxy would. */
async function serve(cleanup: Cleanup, { identity }: Member, port: number): Promise<void> {
  await startTestPostgres(cleanup, {
    version: 15,
    port,
    tls: { cert: identity.certificate, key: identity.key },
    hba: ['hostssl all all 127.0.0.1/32 trust'],
    sql: ['CREATE ROLE app LOGIN'],
  })
}

async function ask(over: Readonly<Record<string, string>>, libpq: 15 | 18): Promise<Output> {
  const reply = await access()
  const files = {
    certificate: await privateFile(folder, 'crt', reply.certificate),
    key: await privateFile(folder, 'key', reply.key),
    cas: await privateFile(folder, 'cas', reply.serverCas.join('')),
  }
  const names = { user: 'app', database: 'postgres' }
  const settings = serviceSettings(waysOf(reply), files, names)
  return await psql(conninfoOf({ ...settings, ...over }), ['-c', 'SELECT 1'], { libpq })
}

describe('a proxy whose public address is an IP address', () => {
  const cleanup = suiteCleanup()
  let member: Member
  let port: number
  before(async () => {
    port = await freePort()
    member = await proxyAt(`127.0.0.1:${port}`)
    await serve(cleanup, member, port)
  })
  after(() => member.close())

  it('has it in its host certificate, beside its own name and nothing else', async () => {
    const { id, certificate } = member.identity
    assert.equal(await namesOf(certificate), `DNS:${id}.proxy.sluice.test, IP Address:127.0.0.1`)
    assert.equal(await verify(certificate, ['-verify_ip', '127.0.0.1']), 'stdin: OK')
    assert.match(await verify(certificate, ['-verify_ip', '127.0.0.2']), /IP address mismatch/)
    assert.match(
      await verify(certificate, ['-verify_hostname', 'orders.db.sluice.test']),
      /mismatch/,
    )
  })

  for (const libpq of [15, 18] as const)
    it(`is believed by psql on libpq ${libpq} with the settings of tsh, and under no other name`, async () => {
      assert.deepEqual(await ask({}, libpq), { code: 0, signal: null, stdout: '1\n', stderr: '' })
      const { stderr } = await ask({ host: 'orders.example' }, libpq)
      assert.match(stderr, /does not match host name "orders.example"/)
    })
})

describe('a proxy that moved to a name', () => {
  const cleanup = suiteCleanup()
  let member: Member
  let port: number
  before(async () => {
    port = await freePort()
    const before = JSON.parse(readFileSync(join(folder, 'identity.json'), 'utf8')) as HostIdentity
    member = await proxyAt(`localhost:${port}`)
    await until(() => member.identity.certificate !== before.certificate, 'a new certificate')
    await serve(cleanup, member, port)
  })
  after(() => member.close())

  it('renewed its certificate for it, and need not again', async () => {
    const { id, certificate } = member.identity
    assert.equal(await namesOf(certificate), `DNS:${id}.proxy.sluice.test, DNS:localhost`)
    assert.equal(await verify(certificate, ['-verify_hostname', 'localhost']), 'stdin: OK')
    assert.equal(carriesHost(member.identity, 'LOCALHOST:1'), true)
    assert.equal(carriesHost(member.identity, '127.0.0.1:1'), false)
  })

  for (const libpq of [15, 18] as const)
    it(`is believed by psql on libpq ${libpq}, address known or not`, async () => {
      const said = { code: 0, signal: null, stdout: '1\n', stderr: '' }
      assert.deepEqual(await ask({}, libpq), said)
      assert.deepEqual(await ask({ hostaddr: '127.0.0.1' }, libpq), said)
    })
})
