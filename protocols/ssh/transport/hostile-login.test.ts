// Clients that want in without the right: each class of attack that other servers fell for stays a test (threats by number: CVE-2025-49825,
// CVE-2024-45337, CVE-2023-48795, CVE-2025-26466, and those of the list of spoiled signatures).

import assert from 'node:assert/strict'
import { sign as signBytes } from 'node:crypto'
import { describe, it } from 'node:test'

import { judgeSshCertificate } from '../../../core/cert/ssh.ts'
import { max } from '../../../core/limits.ts'
import { string, u32 } from '../../../core/ssh/bytes.ts'
import { publicBlob, signBlob } from '../../../core/ssh/key.ts'
import type { ByteStream } from '../../../core/stream.ts'
import { changed, streamPair } from '../../../test/fake/stream.ts'
import { FakeTimers } from '../../../workers/timers.ts'
import type { ProvenLogin } from './accept.ts'
import { certificateKey, type CertificateKey } from './host-key.ts'
import { MESSAGE } from './message.ts'
import {
  certificate,
  HOST_CA,
  hostKey,
  keyOf,
  startPair,
  startServer,
  USER_CA,
  userKey,
} from './pair.fixture.ts'
import { rawClient, rawLogin, type Signed } from './raw.fixture.ts'

/** A key whose blob is no certificate that `certificateKey` would take. */
function bare(blob: Uint8Array, algorithm: string): CertificateKey {
  return { blob, algorithms: [algorithm], sign: (data) => signBlob(keyOf('ed25519'), data) }
}

const ed25519 = keyOf('ed25519')
const rsa = keyOf('rsa')
const RSA_512 = 'rsa-sha2-512-cert-v01@openssh.com'
const sha1 = (data: Uint8Array): Uint8Array =>
  Buffer.concat([string('ssh-rsa'), string(signBytes('sha1', data, rsa))])

function flipped(blob: Uint8Array, at: number): Uint8Array {
  const copy = Buffer.from(blob)
  copy[at] = (copy[at] ?? 0) ^ 1
  return copy
}

const SPOILED: Readonly<Record<string, () => Signed>> = {
  'a stolen certificate, signed by another key': () => ({
    key: certificateKey(userKey().blob, keyOf('p256')),
  }),
  'an Ed25519 certificate under an RSA name': () => ({ key: userKey(), algorithm: RSA_512 }),
  'an RSA certificate under its SHA-1 name': () => ({
    key: userKey('rsa'),
    algorithm: 'ssh-rsa-cert-v01@openssh.com',
    sign: sha1,
  }),
  'a SHA-1 signature under the SHA-512 name': () => ({ key: userKey('rsa'), sign: sha1 }),
  'a SHA-256 signature under the SHA-512 name': () => ({
    key: userKey('rsa'),
    sign: (data) => signBlob(rsa, data, 'rsa-sha2-256'),
  }),
  'a signature over other data': () => ({
    sign: (data) => signBlob(ed25519, Buffer.concat([data, Buffer.from('x')])),
  }),
  'a signature for another session': () => ({
    sign: (data) => signBlob(ed25519, flipped(data, 8)),
  }),
  'a signature with bytes behind it': () => ({
    sign: (data) => Buffer.concat([signBlob(ed25519, data), Uint8Array.of(0)]),
  }),
  'no signature': () => ({ sign: () => Buffer.alloc(0) }),
  'a plain key': () => ({ key: bare(publicBlob(ed25519), 'ssh-ed25519') }),
  'a plain key under a certificate’s name': () => ({
    key: bare(publicBlob(ed25519), 'ssh-ed25519-cert-v01@openssh.com'),
  }),
  'a certificate that its CA did not sign': () => ({
    key: bare(flipped(userKey().blob, 100), 'ssh-ed25519-cert-v01@openssh.com'),
  }),
  'a certificate of a CA that is a certificate itself': () => ({
    key: bare(nested(), 'ssh-ed25519-cert-v01@openssh.com'),
  }),
  'a certificate of an unknown CA': () => ({
    key: certificateKey(certificate(ed25519, {}, HOST_CA), ed25519),
  }),
  'a host’s certificate of the user CA': () => ({
    key: certificateKey(certificate(ed25519, { kind: 'host' }, USER_CA), ed25519),
  }),
  'a certificate for other users': () => ({ user: 'root' }),
  'a certificate for nobody': () => ({
    key: certificateKey(certificate(ed25519, { principals: [] }), ed25519),
  }),
  'a certificate with an option nobody enforces': () => ({
    key: certificateKey(certificate(ed25519, { critical: { 'x@y': '1' } }), ed25519),
  }),
  'an expired certificate': () => ({
    key: certificateKey(certificate(ed25519, { validBefore: 1n, validAfter: 0n }), ed25519),
  }),
}

function nested(): Uint8Array {
  const inner = certificate(ed25519)
  const blob = Buffer.from(certificate(ed25519))
  // The CA key is the last field but one; its place is taken by a certificate, and the signature is made anew over all of it.
  const ca = string(publicBlob(USER_CA))
  const head = blob.subarray(0, blob.lastIndexOf(ca))
  const signed = Buffer.concat([head, string(inner)])
  return Buffer.concat([signed, string(signBlob(ed25519, signed))])
}

function judge(login: ProvenLogin): Promise<ProvenLogin | undefined> {
  const cas = [publicBlob(USER_CA)]
  const wanted = { kind: 'user', cas, principal: login.user, critical: [] } as const
  const refusal = judgeSshCertificate(login.certificate, wanted, Date.now())
  return Promise.resolve(refusal === undefined ? login : undefined)
}

describe('a stranger', () => {
  for (const [name, signed] of Object.entries(SPOILED))
    it(`is refused with ${name}, and let in with the right one`, async () => {
      const { client, server } = await rawClient({ authorize: judge })
      await client.prove(signed())
      assert.equal(await client.type(), MESSAGE.authFailure)
      if (signed().user !== undefined) return
      await client.prove()
      assert.equal(await client.type(), MESSAGE.authSuccess)
      assert.equal((await server).right.user, 'alice')
    })

  it('has the rights of the certificate that signed, not of one that it showed (CVE-2024-45337)', async () => {
    const seen: string[] = []
    const { client, server } = await rawClient({
      authorize: (login) => {
        seen.push(login.certificate.keyId)
        return judge(login)
      },
    })
    const admin = certificateKey(certificate(ed25519, { keyId: 'admin' }), ed25519)
    client.offer(admin)
    assert.equal(await client.type(), MESSAGE.authKeyOk)
    client.offer(userKey())
    client.offer(admin)
    assert.deepEqual([await client.type(), await client.type()], [60, 60])
    await client.prove()
    assert.equal(await client.type(), MESSAGE.authSuccess)
    assert.deepEqual(seen, ['alice@example.com'])
    assert.equal((await server).right.certificate.keyId, 'alice@example.com')
  })

  it('is refused by password and by keyboard, also where some are let in without a proof', async () => {
    const right = (await rawLogin()).accepted.right
    const { client } = await rawClient({ authorizeNone: () => Promise.resolve(right) })
    const methods = [
      [string('password'), Uint8Array.of(0), string('secret')],
      [string('keyboard-interactive'), string(''), string('')],
      [string('hostbased'), string('')],
    ]
    for (const fields of methods) {
      client.send(MESSAGE.authRequest, string('alice'), string('ssh-connection'), ...fields)
      assert.equal(await client.type(), MESSAGE.authFailure)
    }
  })

  it('may not become another user between two requests', async () => {
    const { client } = await rawClient()
    client.offer(userKey(), 'alice')
    await client.next()
    await client.prove({ user: 'root' })
    assert.equal(await client.type(), 0)
  })

  it('has a number of attempts, questions included', async () => {
    const { client } = await rawClient()
    for (let count = 0; count < max('sshLoginAttemptsMax'); count++) {
      client.offer(userKey())
      assert.equal(await client.type(), MESSAGE.authKeyOk)
    }
    await client.prove()
    assert.equal(await client.type(), 0)
  })

  it('has a time, from the first byte on', async () => {
    const raw = await rawClient()
    raw.timers.advance(max('sshLoginMs'))
    await assert.rejects(raw.server, /sshLoginMs/)
    const timers = new FakeTimers()
    const silent = startServer(streamPair()[1], timers)
    timers.advance(max('sshLoginMs'))
    await assert.rejects(silent, /sshLoginMs/)
  })

  it('has a number of bytes, whatever they are (CVE-2025-26466)', async () => {
    const { client, server } = await rawClient()
    const ignored = Buffer.alloc(30_000)
    for (let sent = 0; sent <= max('sshLoginBytesMax'); sent += ignored.length)
      client.send(2, string(ignored))
    await assert.rejects(server, /sshLoginBytesMax/)
    const [near, far] = streamPair()
    const endless = startServer(far, new FakeTimers())
    await near.write(Buffer.from('SSH-2.0-'.padEnd(20_000, 'x')))
    await assert.rejects(endless)
  })

  it('reaches nothing before it is in', async () => {
    for (const type of [MESSAGE.channelOpen, MESSAGE.globalRequest, MESSAGE.authSuccess, 192]) {
      let served = false
      const { client, server } = await rawClient({
        serve: () => {
          served = true
          return {}
        },
      })
      client.send(type, string('session'), u32(0), u32(1000), u32(1000))
      assert.equal(await client.type(), 0)
      await assert.rejects(server)
      assert.equal(served, false)
    }
  })

  it('changes no keys before it is in', async () => {
    const { client, server } = await rawClient()
    // Its own clock says that the key is old: it is admitted in its own eyes alone.
    client.transport.admit()
    const before = assert.rejects(server, /keys are changed before authentication/)
    client.send(MESSAGE.kexInit, Buffer.alloc(16))
    await before
  })

  it('is refused, and the connection ended, when nobody can decide', async () => {
    const { client, server } = await rawClient({
      authorize: () => Promise.reject(new Error('the store is away')),
    })
    await client.prove()
    assert.equal(await client.type(), MESSAGE.authFailure)
    assert.equal(await client.type(), 0)
    await assert.rejects(server, /cannot be decided/)
  })

  it('is in once: what it says about itself afterwards is nothing', async () => {
    const seen: string[] = []
    const { client } = await rawLogin({
      authorize: (login) => {
        seen.push(login.user)
        return Promise.resolve(login)
      },
    })
    await client.prove({ user: 'alice' })
    client.send(MESSAGE.globalRequest, string('keepalive@openssh.com'), Uint8Array.of(1))
    assert.equal(await client.type(), MESSAGE.requestFailure)
    assert.deepEqual(seen, ['alice'])
  })
})

describe('somebody between client and server', () => {
  it('cannot slip a packet in before the first keys (CVE-2023-48795)', async () => {
    const ignore = packet(Buffer.concat([Uint8Array.of(2), string('')]))
    for (const victim of ['server', 'client']) {
      const [near, far] = streamPair()
      const inject = (stream: ByteStream): ByteStream => behindLine(stream, ignore)
      const pair = startPair({
        streams: victim === 'server' ? [near, inject(far)] : [inject(near), far],
      })
      await assert.rejects(victim === 'server' ? pair.server : pair.client)
    }
  })

  it('cannot change, cut or repeat a sealed byte', async () => {
    const changes: Readonly<Record<string, (bytes: Buffer) => Buffer>> = {
      changed: (bytes) => Buffer.from(flipped(bytes, bytes.length - 1)),
      length: (bytes) => Buffer.from(flipped(bytes, 3)),
      repeated: (bytes) => Buffer.concat([bytes, bytes]),
    }
    for (const [name, change] of Object.entries(changes)) {
      const [near, far] = streamPair()
      const wire = { change: undefined as ((bytes: Buffer) => Buffer) | undefined }
      const tampered = changed(near, {
        write: (bytes) => near.write(wire.change?.(Buffer.from(bytes)) ?? bytes),
      })
      const pair = startPair({ streams: [tampered, far] })
      const [client, server] = [await pair.client, await pair.server]
      wire.change = change
      void client.connection.ask({ kind: 'streamlocal-forward', path: '/x' })
      const error = await server.connection.closed
      assert.equal(error?.code, 'protocol.violation', name)
    }
  })

  it('cannot have packets believed that are no packets', async () => {
    const bad: readonly Uint8Array[] = [
      u32(0xffff_ffff),
      u32(0),
      u32(35_004),
      // The padding is longer than the packet that holds it.
      Buffer.concat([u32(12), Uint8Array.of(255), Buffer.alloc(11)]),
      Buffer.concat([u32(12), Uint8Array.of(11), Buffer.alloc(11)]),
      packet(Buffer.concat([Uint8Array.of(MESSAGE.kexInit), Buffer.alloc(20)])),
      packet(Uint8Array.of(MESSAGE.authSuccess)),
    ]
    for (const bytes of bad) {
      const [near, far] = streamPair()
      const server = startServer(far, new FakeTimers())
      await near.write(Buffer.concat([Buffer.from('SSH-2.0-bad\r\n'), bytes]))
      void near.end()
      await assert.rejects(server, { code: 'protocol.violation' })
    }
  })
})

describe('a host', () => {
  it('that shows another key when keys are changed is left', async () => {
    const first = hostKey()
    let shown = first.blob
    const turning = {
      ...first,
      get blob(): Uint8Array {
        return shown
      },
    }
    const pair = startPair({ accept: { hostKeys: [turning] } })
    const { connection } = await pair.client
    await pair.server
    shown = hostKey().blob
    for (let ageMs = 0; ageMs < max('sshRekeyMs'); ageMs += max('sshKeepaliveMs')) {
      pair.timers.advance(max('sshKeepaliveMs'))
      // Both ends ask for a sign of life now and then, and are given it.
      for (let turn = 0; turn < 8; turn++) await new Promise((resolve) => setImmediate(resolve))
    }
    assert.equal((await connection.closed)?.code, 'cert.chain')
  })
})

/** A packet before there are keys. */
function packet(payload: Uint8Array): Uint8Array {
  const padding = 8 + ((8 - ((payload.length + 5) % 8)) % 8)
  const body = Buffer.concat([Uint8Array.of(padding), payload, Buffer.alloc(padding)])
  return Buffer.concat([u32(body.length), body])
}

/** The stream with bytes put behind the peer's identification line. */
function behindLine(stream: ByteStream, bytes: Uint8Array): ByteStream {
  let done = false
  return changed(stream, {
    read: async () => {
      const chunk = await stream.read()
      const line = chunk === undefined ? -1 : Buffer.from(chunk).indexOf('\n')
      if (chunk === undefined || done || line < 0) return chunk
      done = true
      return Buffer.concat([chunk.subarray(0, line + 1), bytes, chunk.subarray(line + 1)])
    },
  })
}
