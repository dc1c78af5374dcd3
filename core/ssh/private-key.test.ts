import { deepEqual, equal, match, throws } from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'

import { privateFile, temporaryFolder } from '../../test/fixtures/files.ts'
import { run } from '../../test/fixtures/processes.ts'
import { string, u32 } from './bytes.ts'
import { publicBlob } from './key.ts'
import { privateFields, readPrivateKey, writePrivateKey } from './private-key.ts'

const { privateKey } = generateKeyPairSync('ed25519')

test('ssh-keygen reads what is written: the same public half, the comment', async (t) => {
  const folder = await temporaryFolder(t)
  // Comments of each length: the padding has from none to seven bytes.
  for (const comment of ['', 'a', 'alice@example.com', 'äöü', 'x'.repeat(13)]) {
    const file = await privateFile(folder, 'key', writePrivateKey(privateKey, comment))
    const { stdout, stderr } = await run('ssh-keygen', ['-y', '-f', file])
    const line = `ssh-ed25519 ${Buffer.from(publicBlob(privateKey)).toString('base64')} ${comment}`
    equal(stdout.trim(), line.trim(), stderr)
  }
})

test('what ssh-keygen writes is read', async (t) => {
  const file = join(await temporaryFolder(t), 'key')
  await run('ssh-keygen', ['-q', '-t', 'ed25519', '-N', '', '-C', 'a comment', '-f', file])
  const key = readPrivateKey(await readFile(file, 'utf8'))
  const line = await readFile(`${file}.pub`, 'utf8')
  equal(Buffer.from(publicBlob(key)).toString('base64'), line.split(' ')[1])
})

test('what is written is read again', () => {
  const key = readPrivateKey(writePrivateKey(privateKey, 'alice'))
  deepEqual(key.export({ format: 'jwk' }), privateKey.export({ format: 'jwk' }))
})

test('keys of other kinds and keys with a passphrase are refused, and no error holds key material', async (t) => {
  const folder = await temporaryFolder(t)
  const cases = [
    ['-t', 'ecdsa', '-N', ''],
    ['-t', 'ed25519', '-N', 'a passphrase'],
  ]
  for (const [at, args] of cases.entries()) {
    const file = join(folder, `key${at}`)
    await run('ssh-keygen', ['-q', ...args, '-f', file])
    const text = await readFile(file, 'utf8')
    throws(() => readPrivateKey(text), { code: 'cert.malformed' })
  }
  const p256 = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey
  throws(() => writePrivateKey(p256, ''), { code: 'cert.malformed' })
  throws(
    () => readPrivateKey('a secret'),
    (error: Error) => !error.message.includes('secret'),
  )
})

test('a file that was tampered with is refused at each byte', () => {
  const text = writePrivateKey(privateKey, 'c')
  const [begin = '', ...rest] = text.trim().split('\n')
  const end = rest.pop() ?? ''
  const bytes = Buffer.from(rest.join(''), 'base64')
  const comment = bytes.indexOf(string('c'), bytes.length - 12) + 4
  for (let at = 0; at < bytes.length; at++) {
    if (at === comment) continue
    const changed = Buffer.from(bytes)
    changed[at] = (changed[at] ?? 0) ^ 1
    const file = `${begin}\n${changed.toString('base64')}\n${end}\n`
    throws(() => readPrivateKey(file), { code: 'cert.malformed' }, `byte ${at}`)
  }
  for (let to = 0; to < bytes.length; to++) {
    const file = `${begin}\n${bytes.subarray(0, to).toString('base64')}\n${end}\n`
    throws(() => readPrivateKey(file), { code: 'cert.malformed' }, `cut at ${to}`)
  }
})

test('a public half of another key is refused', () => {
  const other = generateKeyPairSync('ed25519').privateKey
  throws(() => readPrivateKey(fileOf(privateKey, other)), { code: 'cert.malformed' })
  match(fileOf(privateKey, privateKey), /BEGIN OPENSSH/)
  deepEqual(
    readPrivateKey(fileOf(privateKey, privateKey)).export({ format: 'jwk' }),
    privateKey.export({ format: 'jwk' }),
  )
})

/** A second writer: the outer public half is `half`'s. */
function fileOf(key: KeyObject, half: KeyObject): string {
  const inner = Buffer.concat([u32(5), u32(5), privateFields(key), string('')])
  const pad = Buffer.from([1, 2, 3, 4, 5, 6, 7]).subarray(0, (8 - (inner.length % 8)) % 8)
  const blob = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    ...['none', 'none', ''].map(string),
    u32(1),
    string(publicBlob(half)),
    string(Buffer.concat([inner, pad])),
  ])
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${blob.toString('base64')}\n-----END OPENSSH PRIVATE KEY-----\n`
}
