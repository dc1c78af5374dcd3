// Who sits between an agent and its cluster at the very first contact, and who calls itself what it is not: joins through proxies
// that swap the CA, machines named like targets, servers with forged target certificates. The doubles record every byte they see.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import net from 'node:net'
import { before, describe, it } from 'node:test'
import tls from 'node:tls'

import { connectTo } from '../../cli/connect.ts'
import { Member } from '../../cli/roles/member.ts'
import { OID } from '../../core/cert/oid.ts'
import { readPem, writePem } from '../../core/cert/pem.ts'
import { readCertificate } from '../../core/cert/x509.ts'
import { errorCode } from '../../core/errors.ts'
import { silentLogger } from '../../core/log.ts'
import { systemIdentity, testCa, type TestCa } from '../fixtures/certificates.ts'
import {
  CLUSTER,
  newCsr,
  newMember,
  newToken,
  startTestControl,
  type TestControl,
} from '../fixtures/control.ts'
import {
  atEnd,
  type Cleanup,
  openFolder,
  suiteCleanup,
  temporaryFolder,
} from '../fixtures/files.ts'
import { type Forge, forged, forgedServer, openForge } from '../fixtures/forge.ts'
import { listen } from '../fixtures/net.ts'
import { startNode } from '../fixtures/processes.ts'
import { psql } from '../fixtures/psql.ts'
import { ending, until } from '../fixtures/sockets.ts'
import type { PemPair } from '../fixtures/tls.ts'

const CONTROL_NAMES = [`control.${CLUSTER}`]

/** Somebody on the way who ends the TLS himself. */
interface Middle {
  readonly port: number
  /** All bytes that came, as they passed. */
  readonly raw: () => Buffer
  /** What they said, once decrypted. */
  readonly clear: () => Buffer
  /** Resolves when somebody came and all who came have left. */
  readonly left: () => Promise<void>
}

async function middle(
  cleanup: Cleanup,
  shown: PemPair,
  options: tls.TlsOptions = {},
): Promise<Middle> {
  const [raw, clear]: [Buffer[], Buffer[]] = [[], []]
  let [came, gone] = [0, 0]
  const server = tls.createServer({
    cert: shown.certificate,
    key: shown.key,
    ALPNProtocols: ['sluice-control'],
    ...options,
  })
  server.on('secureConnection', (socket) => {
    socket.on('data', (chunk: Buffer) => clear.push(chunk))
    void ending(socket).then(() => gone++)
  })
  server.on('tlsClientError', () => gone++)
  const inner = await listen(cleanup, (socket) => {
    came++
    // A caller that leaves in the middle of the handshake must be seen to leave.
    socket.allowHalfOpen = false
    server.emit('connection', socket)
  })
  const { port } = await tapped(cleanup, inner.port, raw)
  return {
    port,
    raw: () => Buffer.concat(raw),
    clear: () => Buffer.concat(clear),
    left: () => until(() => came > 0 && gone === came, 'the caller came and left'),
  }
}

/** Passes everything on and keeps a copy of what comes from the caller. */
function tapped(cleanup: Cleanup, port: number, raw: Buffer[]): ReturnType<typeof listen> {
  return listen(cleanup, (socket) => {
    const there = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true })
    there.on('error', () => socket.destroy())
    there.on('close', () => socket.destroy())
    socket.on('close', () => there.destroy())
    socket.on('data', (chunk: Buffer) => raw.push(chunk))
    socket.pipe(there).pipe(socket)
  })
}

describe('A join through a proxy that swaps the CA', () => {
  const cleanup = suiteCleanup()
  let control: TestControl
  let forge: Forge
  let token = ''

  before(async () => {
    control = await startTestControl()
    atEnd(cleanup, () => control.remove())
    forge = openForge(join(control.folder, 'signer'), CLUSTER)
    token = await newToken(control, ['db'])
  })

  async function joins(port: number): Promise<string> {
    try {
      const member = await Member.open({
        folder: await temporaryFolder(cleanup),
        connect: connectTo(() => [`127.0.0.1:${port}`]),
        pins: control.handle.pins,
        join: { role: 'agent', token, hostname: 'agent.test', services: ['db'] },
        log: silentLogger,
      })
      atEnd(cleanup, () => member.close())
      return 'joined'
    } catch (error) {
      return errorCode(error) ?? String(error)
    }
  }

  /** What each of them shows in control's place. */
  async function impostors(): Promise<readonly (readonly [string, PemPair])[]> {
    const own = testCa('own', Date.now())
    const like: TestCa = { ...own, subject: forge.cas.host.subject }
    const identity = systemIdentity('control', { cluster: CLUSTER })
    const dnsNames = [...CONTROL_NAMES, `${identity.id}.control.${CLUSTER}`]
    const { host, user, target } = forge.cas
    const proxy = await newMember(control, 'proxy')
    const [proxyLeaf] = readPem('CERTIFICATE', proxy.certificate)
    const hourMs = 3_600_000
    return [
      ['a CA of its own', chained(forged(own, identity, { dnsNames }), own.der)],
      ['a CA of its own called like ours', chained(forged(like, identity, { dnsNames }), own.der)],
      ['our CA behind a leaf of its own', chained(forged(like, identity, { dnsNames }), host.der)],
      ['no CA behind its leaf', forged(host, identity, { dnsNames })],
      [
        'its own genuine certificate as a proxy',
        { certificate: pemOf(proxyLeaf, host.der), key: proxy.key },
      ],
      [
        'an agent’s certificate',
        chained(forged(host, systemIdentity('agent', { cluster: CLUSTER })), host.der),
      ],
      [
        'control’s identity from the user CA',
        chained(forged(user, identity, { dnsNames }), user.der),
      ],
      ['a target’s certificate', chained(forgedServer(target, CONTROL_NAMES), target.der)],
      [
        'control’s certificate of last week',
        chained(
          forged(host, identity, {
            dnsNames,
            notBeforeMs: Date.now() - 2 * hourMs,
            notAfterMs: Date.now() - hourMs,
          }),
          host.der,
        ),
      ],
      [
        'control’s certificate, good for clients alone',
        chained(forged(host, identity, { dnsNames, usages: [OID.clientAuth] }), host.der),
      ],
    ]
  }

  it('gives the token to none of them', async () => {
    for (const [what, shown] of await impostors()) {
      const between = await middle(cleanup, shown)
      assert.equal(await joins(between.port), 'trust.unproven', what)
      await between.left()
      assert.ok(between.raw().length > 0, what)
      assert.equal(between.clear().length, 0, what)
      assert.equal(between.raw().includes(token), false, what)
    }
  })

  it('gives nothing to one that does not speak for control at all', async () => {
    const own = testCa('own', Date.now())
    const between = await middle(cleanup, forgedServer(own, CONTROL_NAMES), { ALPNProtocols: [] })
    assert.notEqual(await joins(between.port), 'joined')
    await between.left()
    assert.equal(between.clear().length, 0)
  })

  it('the process an operator starts gives it to none either, and says what to compare', async () => {
    const own = testCa('own', Date.now())
    const identity = systemIdentity('control', { cluster: CLUSTER })
    const between = await middle(
      cleanup,
      chained(forged(own, identity, { dnsNames: CONTROL_NAMES }), own.der),
    )
    const folder = await openFolder(cleanup)
    const file = join(folder, 'sluice.yaml')
    await writeFile(file, agentConfig(folder, between.port, token, control.handle.pins[0] ?? ''))
    const program = startNode(cleanup, join(import.meta.dirname, '../../cli/main.ts'), [
      'sluice',
      'start',
      '-c',
      file,
    ])
    await program.line(/does not match the pin/)
    await between.left()
    assert.ok(between.raw().length > 0)
    assert.equal(between.clear().length, 0)
    assert.equal(between.raw().includes(token), false)
    await program.kill('SIGKILL')
  })

  it('succeeds through one that only passes on, which never sees the token', async () => {
    const raw: Buffer[] = []
    const { port } = await tapped(cleanup, control.handle.port, raw)
    assert.equal(await joins(port), 'joined')
    assert.ok(raw.length > 0)
    assert.equal(Buffer.concat(raw).includes(token), false)
  })
})

describe('A server that calls itself a target', () => {
  const cleanup = suiteCleanup()
  let control: TestControl
  let forge: Forge

  before(async () => {
    control = await startTestControl()
    atEnd(cleanup, () => control.remove())
    forge = openForge(join(control.folder, 'signer'), CLUSTER)
  })

  const name = `x.orders.db.${CLUSTER}`
  const pattern = `*.orders.db.${CLUSTER}`

  /** psql, verify-full with these roots, against a server with this certificate. What it said inside TLS, and to its user. */
  async function ask(
    shown: PemPair,
    roots: Uint8Array,
  ): Promise<{ clear: Buffer; stderr: string }> {
    const clear: Buffer[] = []
    const server = tls.createServer({ cert: shown.certificate, key: shown.key })
    server.on('tlsClientError', () => {})
    server.on('secureConnection', (socket) => {
      socket.on('error', () => {})
      socket.on('data', (chunk: Buffer) => {
        clear.push(chunk)
        socket.destroy()
      })
    })
    const { port } = await listen(cleanup, (socket) => {
      socket.once('data', () => {
        socket.pause()
        socket.write('S')
        server.emit('connection', socket)
      })
    })
    const file = join(await temporaryFolder(cleanup), 'roots.pem')
    await writeFile(file, writePem('CERTIFICATE', roots))
    const where = `host=${name} hostaddr=127.0.0.1 port=${port} user=app dbname=postgres`
    const conninfo = `${where} sslmode=verify-full sslrootcert=${file} connect_timeout=10`
    const { stderr } = await psql(conninfo, ['-c', 'SELECT 1'])
    return { clear: Buffer.concat(clear), stderr }
  }

  it('is believed with a certificate of the target CA for the name', async () => {
    const { target } = forge.cas
    const { clear } = await ask(forgedServer(target, [pattern]), target.der)
    assert.match(clear.toString('latin1'), /user\0app/)
  })

  it('is believed with no other', async () => {
    const { target, host, user } = forge.cas
    const foreign: TestCa = { ...testCa('foreign', Date.now()), subject: target.subject }
    const cases: readonly (readonly [string, PemPair])[] = [
      ['its own CA', forgedServer(testCa('own', Date.now()), [pattern])],
      ['its own CA called like ours', forgedServer(foreign, [pattern])],
      ['the host CA', forgedServer(host, [pattern, name])],
      ['the user CA', forgedServer(user, [pattern, name])],
      ['another target', forgedServer(target, [`*.payments.db.${CLUSTER}`])],
      ['another kind', forgedServer(target, [`*.orders.node.${CLUSTER}`])],
      ['a name above', forgedServer(target, [`orders.db.${CLUSTER}`, `*.db.${CLUSTER}`])],
      ['the name in a subject only', forgedServer(target, [])],
      ['a client’s use', forgedServer(target, [pattern], [OID.clientAuth])],
    ]
    for (const [what, shown] of cases) {
      const { clear, stderr } = await ask(shown, target.der)
      assert.match(stderr, /certificate verify failed|does not match host name/, what)
      assert.equal(clear.length, 0, what)
    }
  })

  it('gets no certificate for the name by being a machine of that name', async () => {
    const token = await newToken(control, ['db', 'node'])
    const hostnames = ['orders', 'x.orders.db', name, pattern, `control.${CLUSTER}`, 'db']
    for (const hostname of hostnames) {
      const { key, csr } = newCsr()
      const { certificate, id } = await control
        .client()
        .call('join', { token, csr, hostname, role: 'agent', services: ['db'] })
      const [leaf = new Uint8Array()] = readPem('CERTIFICATE', certificate)
      const { extensions } = readCertificate(leaf)
      assert.deepEqual(extensions.dnsNames, [`${id}.agent.${CLUSTER}`], hostname)
      assert.deepEqual(extensions.extendedKeyUsage, [OID.clientAuth], hostname)
      for (const roots of [forge.cas.target.der, forge.cas.host.der]) {
        const { clear, stderr } = await ask({ certificate, key }, roots)
        assert.match(stderr, /certificate verify failed|does not match host name/, hostname)
        assert.equal(clear.length, 0, hostname)
      }
    }
  })

  it('gets no certificate by announcing a name that reads as another', async () => {
    const owner = await newMember(control, 'agent')
    const announce = async (
      member: typeof owner,
      name_: string,
    ): Promise<{ readonly refused: number; readonly names: readonly string[] }> => {
      const target = {
        kind: 'db',
        name: name_,
        protocol: 'postgres',
        labels: {},
        description: '',
      } as const
      const { refused, certificate } = await member.client.call('inventory', {
        targets: [target],
        csr: newCsr().csr,
      })
      const [leaf] = certificate === undefined ? [] : readPem('CERTIFICATE', certificate)
      const names = leaf === undefined ? [] : readCertificate(leaf).extensions.dnsNames
      return { refused: refused.length, names }
    }
    assert.deepEqual(await announce(owner, 'orders'), { refused: 0, names: [pattern] })
    const other = await newMember(control, 'agent')
    for (const claimed of ['orders', 'Orders', 'ORDERS', 'orders.', 'x.orders', '*', 'оrders']) {
      const { names } = await announce(other, claimed)
      assert.equal(names.includes(pattern), false, claimed)
      for (const each of names) assert.match(each, /^\*\.[a-z0-9-]+\.db\.sluice\.test$/, claimed)
    }
  })
})

function chained(pair: PemPair, ca: Uint8Array): PemPair {
  return { certificate: pair.certificate + writePem('CERTIFICATE', ca), key: pair.key }
}

function pemOf(leaf: Uint8Array | undefined, ca: Uint8Array): string {
  return writePem('CERTIFICATE', leaf ?? new Uint8Array()) + writePem('CERTIFICATE', ca)
}

function agentConfig(folder: string, port: number, token: string, pin: string): string {
  return [
    'version: v3',
    'sluice:',
    `  data_dir: ${JSON.stringify(join(folder, 'data'))}`,
    '  nodename: agent.test',
    `  proxy_server: 127.0.0.1:${port}`,
    `  auth_token: ${token}`,
    `  ca_pin: ${pin}`,
    'auth_service:',
    '  enabled: no',
    'proxy_service:',
    '  enabled: no',
    'db_service:',
    '  enabled: yes',
    '  databases:',
    '    - {name: orders, protocol: postgres, uri: "127.0.0.1:1"}',
    '',
  ].join('\n')
}
