// The hash a login is bound to, for certificates that OpenSSL made with each kind of signature a server may have.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { openFolder, suiteCleanup } from '../../test/fixtures/files.ts'
import { tlsServerEndPoint } from './end-point.ts'
import { readPem } from './pem.ts'

const CASES: readonly (readonly [name: string, hash: string | undefined, args: string[]])[] = [
  ['RSA with SHA-1', 'sha256', ['-newkey', 'rsa:2048', '-sha1']],
  ['RSA with MD5', 'sha256', ['-newkey', 'rsa:2048', '-md5']],
  ['RSA with SHA-384', 'sha384', ['-newkey', 'rsa:2048', '-sha384']],
  ['RSA with SHA-512', 'sha512', ['-newkey', 'rsa:2048', '-sha512']],
  [
    'RSA-PSS with SHA-384',
    'sha384',
    ['-newkey', 'rsa:2048', '-sha384', '-sigopt', 'rsa_padding_mode:pss'],
  ],
  [
    'RSA-PSS with the default hash of its parameters',
    'sha256',
    ['-newkey', 'rsa:2048', '-sha1', '-sigopt', 'rsa_padding_mode:pss'],
  ],
  [
    'ECDSA with SHA-256',
    'sha256',
    ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-sha256'],
  ],
  [
    'ECDSA with SHA-512',
    'sha512',
    ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-384', '-sha512'],
  ],
  ['Ed25519, which has no hash of its own', undefined, ['-newkey', 'ed25519']],
]

describe('tls-server-end-point', () => {
  const cleanup = suiteCleanup()

  for (const [name, hash, args] of CASES)
    it(`of ${name}`, async () => {
      const folder = await openFolder(cleanup)
      const more = ['-nodes', '-subj', '/CN=db', '-keyout', join(folder, 'key'), ...args]
      const pem = execFileSync('openssl', ['req', '-x509', ...more], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      })
      const [der = new Uint8Array(0)] = readPem('CERTIFICATE', pem)
      const expected = hash === undefined ? undefined : createHash(hash).update(der).digest()
      assert.deepEqual(tlsServerEndPoint(der), expected)
    })

  it('of bytes that are no certificate is nothing', () => {
    for (const hex of ['', '30', '3000', '300330013000', 'ff'.repeat(40)])
      assert.equal(tlsServerEndPoint(Buffer.from(hex, 'hex')), undefined)
  })
})
