// What a caller tells a control that is not its own: nothing. Each impostor ends TLS with a certificate of its making and counts
// the bytes that come after the handshake.

import assert from 'node:assert/strict'
import net from 'node:net'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'

import { generateKey, keyPin } from '../../core/cert/key.ts'
import { writePem } from '../../core/cert/pem.ts'
import { readCertificate } from '../../core/cert/x509.ts'
import { errorCode } from '../../core/errors.ts'
import type { Identity } from '../../core/identity.ts'
import { systemIdentity, testCa, testLeaf, userIdentity } from '../../test/fixtures/certificates.ts'
import { CLUSTER, newCsr, startTestControl, type TestControl } from '../../test/fixtures/control.ts'
import { connectControl } from './client.ts'
import type { ControlTrust } from './trust.ts'

const TOKEN = '0123456789abcdef0123456789abcdef'
const nowMs = Date.now()
const genuine = testCa(`${CLUSTER} host CA`, nowMs)
const foreign = testCa(`${CLUSTER} host CA`, nowMs)

interface Impostor {
  readonly certificate: string
  readonly key: string
  readonly alpn?: readonly string[]
}

function impostor(ca: typeof genuine, identity: Identity, shown: typeof genuine = ca): Impostor {
  const { privateKey, signer } = generateKey('ecdsa-p256')
  const { der } = testLeaf(ca, identity, nowMs, { key: signer })
  return {
    certificate: writePem('CERTIFICATE', der, shown.der),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** Joins through an impostor. Returns the code it failed with and how many bytes the impostor read. */
async function joinThrough(
  as: Impostor,
  trust: ControlTrust,
): Promise<{ code: string; bytes: number }> {
  let bytes = 0
  const server = tls.createServer(
    { cert: as.certificate, key: as.key, ALPNProtocols: [...(as.alpn ?? ['sluice-control'])] },
    (socket) => {
      socket.on('error', () => {})
      socket.on('data', (chunk) => (bytes += chunk.length))
    },
  )
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as net.AddressInfo
  const client = connectControl({
    trust,
    connect: () =>
      new Promise((resolve) => {
        const socket = net.connect(port, '127.0.0.1', () => resolve(socket))
      }),
  })
  const { csr } = newCsr()
  const request = { token: TOKEN, csr, hostname: 'h', role: 'agent', services: ['db'] } as const
  const code = await client.call('join', request).then(
    () => 'done',
    (error: unknown) => errorCode(error) ?? String(error),
  )
  client.close()
  await new Promise((resolve) => server.close(resolve))
  return { code, bytes }
}

const PINNED: ControlTrust = { pins: [keyPin(genuine.signer.spki)] }
const KNOWN: ControlTrust = { cas: [genuine.der], cluster: CLUSTER }

describe('a caller', () => {
  const control = systemIdentity('control')
  const cases: readonly (readonly [string, Impostor])[] = [
    ['a foreign CA of the same name', impostor(foreign, control)],
    ['a foreign leaf shown under the true CA', impostor(foreign, control, genuine)],
    ['a proxy of the true CA', impostor(genuine, systemIdentity('proxy'))],
    ['an agent of the true CA', impostor(genuine, systemIdentity('agent'))],
    ['a person of the true CA', impostor(genuine, userIdentity())],
    ['the true CA behind another ALPN', { ...impostor(genuine, control), alpn: ['http/1.1'] }],
    ['the true CA behind no ALPN at all', { ...impostor(genuine, control), alpn: [] }],
  ]
  for (const [what, as] of cases)
    for (const [how, trust] of [
      ['pin', PINNED],
      ['CA', KNOWN],
    ] as const)
      it(`tells ${what} nothing, trusting by ${how}`, async () => {
        const { code, bytes } = await joinThrough(as, trust)
        assert.match(code, /^(trust\.unproven|control\.unavailable)$/)
        assert.equal(bytes, 0)
      })

  it('tells a control of another cluster under the same CA nothing when it knows its own', async () => {
    const other = impostor(genuine, systemIdentity('control', { cluster: 'other.test' }))
    assert.deepEqual(await joinThrough(other, KNOWN), { code: 'trust.unproven', bytes: 0 })
  })
})

describe('the true control', () => {
  let cluster: TestControl
  before(async () => {
    cluster = await startTestControl()
  })
  after(() => cluster.remove())

  it('is believed by its pin at first and by its CA afterwards', async () => {
    const { cas } = await cluster.signer.authorities()
    const [host = new Uint8Array()] = cas.host
    assert.deepEqual(cluster.handle.pins, [keyPin(readCertificate(host).spki)])
    for (const trust of [{ pins: cluster.handle.pins }, { cas: cas.host, cluster: CLUSTER }])
      assert.equal((await cluster.client(undefined, trust).call('ping', {})).cluster, CLUSTER)
  })

  it('is not believed with another pin', async () => {
    const { signer } = generateKey('ecdsa-p256')
    const client = cluster.client(undefined, { pins: [keyPin(signer.spki)] })
    await assert.rejects(client.call('ping', {}), { code: 'trust.unproven' })
  })
})
