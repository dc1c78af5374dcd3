// Certificates of ours as OpenSSH's own ssh-keygen reads them (it verifies the CA's signature), its certificates as we read them, and
// everything that must be refused: each changed byte, nested certificates, options nobody enforces.

import assert from 'node:assert/strict'
import { generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'

import { temporaryFolder } from '../../test/fixtures/files.ts'
import { run } from '../../test/fixtures/processes.ts'
import { errorCode } from '../errors.ts'
import { mpint, SshReader, string, u32 } from '../ssh/bytes.ts'
import { publicBlob, readPublicBlob, signBlob, verifyBlob } from '../ssh/key.ts'
import {
  buildSshCertificate,
  isSshCertificate,
  judgeSshCertificate,
  readSshCertificate,
  type SshCa,
  type SshCertificateFields,
  type SshExpectation,
} from './ssh.ts'

const NOW_MS = Date.UTC(2026, 10, 26)
const KEYS: Readonly<Record<string, KeyObject>> = {
  ed25519: generateKeyPairSync('ed25519').privateKey,
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  p521: generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey,
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
}

function caOf(key: KeyObject): SshCa {
  return { blob: publicBlob(key), sign: (bytes) => signBlob(key, bytes) }
}

function key(name: string): KeyObject {
  const found = KEYS[name]
  if (found === undefined) throw new Error(`no key ${name}`)
  return found
}

const CA = caOf(key('ed25519'))

function fields(change: Partial<SshCertificateFields> = {}): SshCertificateFields {
  const seconds = BigInt(NOW_MS / 1000)
  return {
    key: publicBlob(key('p256')),
    serial: 1n,
    kind: 'user',
    keyId: 'alice',
    principals: ['root', 'deploy'],
    validAfter: seconds - 60n,
    validBefore: seconds + 3600n,
    critical: {},
    extensions: { 'permit-pty': '' },
    ...change,
  }
}

function certificate(change: Partial<SshCertificateFields> = {}, ca = CA): Uint8Array {
  return buildSshCertificate(ca, fields(change), randomBytes(32))
}

const WANTED: SshExpectation = { kind: 'user', cas: [CA.blob], principal: 'root', critical: [] }

function judged(raw: Uint8Array, change: Partial<SshExpectation> = {}, nowMs = NOW_MS): string {
  return judgeSshCertificate(readSshCertificate(raw), { ...WANTED, ...change }, nowMs)?.code ?? 'ok'
}

describe('A certificate of ours', () => {
  for (const caName of Object.keys(KEYS))
    for (const keyName of Object.keys(KEYS))
      it(`of a ${keyName} key by a ${caName} CA reads the same to ssh-keygen`, async (t) => {
        const change = {
          key: publicBlob(key(keyName)),
          serial: 2n ** 64n - 1n,
          keyId: 'älice@example.com',
          critical: { 'source-address': '10.0.0.1/32', 'force-command': '/bin/true' },
          extensions: {
            'permit-pty': '',
            'login@github.com': 'alice',
            'permit-agent-forwarding': '',
          },
        }
        const ca = caOf(key(caName))
        const raw = certificate(change, ca)
        const text = await listed(t, raw)
        for (const part of [
          'user certificate',
          'Serial: 18446744073709551615',
          'älice@example.com',
          'root',
          'deploy',
          'source-address 10.0.0.1/32',
          'force-command /bin/true',
          'permit-pty',
          'login@github.com',
        ])
          assert.ok(text.includes(part), `${part} in ${text}`)
        const { caKey: _ca, raw: _raw, ...read } = readSshCertificate(raw)
        assert.deepEqual(
          { ...read, key: Buffer.from(read.key) },
          { ...fields(change), key: Buffer.from(change.key) },
        )
        assert.equal(
          judged(raw, { cas: [ca.blob], critical: ['source-address', 'force-command'] }),
          'ok',
        )
      })

  it('signs and verifies whatever the numbers of an ECDSA signature look like', () => {
    for (let round = 0; round < 200; round++) {
      const data = randomBytes(16)
      for (const name of ['p256', 'p521']) {
        const signature = signBlob(key(name), data)
        assert.ok(verifyBlob(publicBlob(key(name)), data, signature))
        assert.equal(verifyBlob(publicBlob(key(name)), randomBytes(16), signature), false)
      }
    }
  })
})

describe('A certificate of ssh-keygen', () => {
  for (const type of ['ed25519', 'ecdsa', 'rsa'])
    it(`of type ${type} is read and verified`, async (t) => {
      const folder = await temporaryFolder(t)
      const at = (name: string): string => join(folder, name)
      await keygen(['-q', '-t', type, '-N', '', '-f', at('ca')])
      await keygen(['-q', '-t', 'ed25519', '-N', '', '-f', at('key')])
      await keygen([
        '-q',
        '-s',
        at('ca'),
        '-I',
        'id',
        '-n',
        'root,web',
        '-V',
        '-1m:+1h',
        '-O',
        'force-command=ls',
        '-O',
        'extension:x@example.com=y',
        at('key.pub'),
      ])
      const read = readSshCertificate(await blobOf(at('key-cert.pub')))
      assert.deepEqual(read.principals, ['root', 'web'])
      assert.deepEqual(read.critical, { 'force-command': 'ls' })
      assert.equal(read.extensions['x@example.com'], 'y')
      assert.deepEqual(Buffer.from(read.caKey), Buffer.from(await blobOf(at('ca.pub'))))
      const wanted = { ...WANTED, cas: [read.caKey], principal: 'web', critical: ['force-command'] }
      assert.equal(judgeSshCertificate(read, wanted, Date.now()), undefined)
    })
})

describe('Refused:', () => {
  it('a certificate with any one byte changed, dropped or added', () => {
    const raw = certificate()
    for (let at = 0; at < raw.length; at++) {
      const changed = Uint8Array.from(raw)
      changed[at] = (changed[at] ?? 0) ^ 1
      assert.throws(() => readSshCertificate(changed), isMalformed, `changed at ${at}`)
      assert.throws(() => readSshCertificate(raw.subarray(0, at)), isMalformed, `cut at ${at}`)
    }
    assert.throws(() => readSshCertificate(Buffer.concat([raw, Uint8Array.of(0)])), isMalformed)
  })

  // CVE-2025-49825.
  it('a CA key that is a certificate itself, and a certificate of a certificate', () => {
    const nested = {
      blob: certificate(),
      sign: (bytes: Uint8Array) => signBlob(key('p256'), bytes),
    }
    assert.throws(() => readSshCertificate(certificate({}, nested)), isMalformed)
    assert.throws(() => certificate({ key: certificate() }), isMalformed)
    assert.ok(isSshCertificate(nested.blob))
    assert.equal(isSshCertificate(CA.blob), false)
  })

  it('another CA, another kind, too early, too late, another principal, none at all', () => {
    const raw = certificate()
    assert.equal(judged(raw), 'ok')
    assert.equal(judged(raw, { cas: [publicBlob(key('p384'))] }), 'cert.chain')
    assert.equal(judged(raw, { cas: [] }), 'cert.chain')
    assert.equal(judged(raw, { kind: 'host' }), 'cert.purpose')
    assert.equal(judged(raw, {}, NOW_MS - 61_000), 'cert.expired')
    assert.equal(judged(raw, {}, NOW_MS + 3_600_000), 'cert.expired')
    assert.equal(judged(raw, { principal: 'admin' }), 'cert.identity')
    assert.equal(judged(certificate({ principals: [] }), {}), 'cert.identity')
  })

  it('a critical option that the caller does not carry out', () => {
    const raw = certificate({ critical: { 'verify-required': '' } })
    assert.equal(judged(raw), 'cert.purpose')
    assert.equal(judged(raw, { critical: ['verify-required'] }), 'ok')
  })

  it('signatures by SHA-1, of another key type, of another algorithm than allowed', () => {
    const data = randomBytes(32)
    const rsa = publicBlob(key('rsa'))
    const sha512 = signBlob(key('rsa'), data)
    assert.ok(verifyBlob(rsa, data, sha512))
    assert.equal(verifyBlob(rsa, data, sha512, ['rsa-sha2-256']), false)
    const renamed = Buffer.concat([
      string('ssh-rsa'),
      string(new SshReader(sha512.subarray(16)).string()),
    ])
    assert.equal(verifyBlob(rsa, data, renamed), false)
    assert.equal(verifyBlob(CA.blob, data, sha512), false)
    assert.throws(() => signBlob(key('rsa'), data, 'ssh-rsa'), isMalformed)
  })

  it('keys that are short, doubled, on another curve, compressed or followed by bytes', () => {
    const { privateKey: small } = generateKeyPairSync('rsa', { modulusLength: 1024 })
    const p256 = publicBlob(key('p256'))
    const point = new SshReader(p256.subarray(4 + 19 + 4 + 8)).string()
    const ecdsa = (curve: string, bytes: Uint8Array): Uint8Array =>
      Buffer.concat([string('ecdsa-sha2-nistp256'), string(curve), string(bytes)])
    assert.ok(readPublicBlob(ecdsa('nistp256', point)))
    for (const blob of [
      publicBlob(small),
      Buffer.concat([p256, Uint8Array.of(0)]),
      ecdsa('nistp384', point),
      ecdsa('nistp256', Buffer.concat([Uint8Array.of(2), point.subarray(1, 33)])),
      ecdsa(
        'nistp256',
        Buffer.concat([point.subarray(0, 64), Uint8Array.of(point[64] === 0 ? 1 : 0)]),
      ),
      Buffer.concat([string('ssh-ed25519'), string(new Uint8Array(31))]),
      Buffer.concat([string('ssh-dss'), string(new Uint8Array(20))]),
      Buffer.concat([string('ssh-rsa'), mpint(Uint8Array.of(3)), string(Uint8Array.of(0x80))]),
      u32(0xffff_ffff),
    ])
      assert.throws(() => readPublicBlob(blob), isMalformed)
  })
})

function isMalformed(error: unknown): boolean {
  return errorCode(error) === 'cert.malformed'
}

async function listed(t: TestContext, raw: Uint8Array): Promise<string> {
  const file = join(await temporaryFolder(t), 'cert.pub')
  const type = new SshReader(raw).text()
  await writeFile(file, `${type} ${Buffer.from(raw).toString('base64')}\n`)
  return await keygen(['-L', '-f', file])
}

async function keygen(args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await run('/usr/bin/ssh-keygen', args)
  assert.equal(code, 0, stderr)
  return stdout
}

async function blobOf(file: string): Promise<Uint8Array> {
  const [, base64 = ''] = (await readFile(file, 'utf8')).split(' ')
  return Buffer.from(base64, 'base64')
}
