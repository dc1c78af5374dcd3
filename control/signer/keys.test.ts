// Key files: what is on the disk, what it takes to open it, and that nothing is ever written over.

import assert from 'node:assert/strict'
import {
  chmodSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import { readPublicKey, verifySignature } from '../../core/cert/key.ts'
import { errorCode } from '../../core/errors.ts'
import { FakeClock } from '../../core/clock.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { type KeyStore, openKeyFiles } from './keys.ts'
import { openSigner } from './signer.ts'

const PASSPHRASE = 'correct horse battery staple'
/** The cheapest cost the store takes: these tests derive keys dozens of times. */
const scryptLog2 = 10

interface Place {
  readonly folder: string
  readonly passphraseFile: string
}

async function place(t: TestContext, passphrase: string = PASSPHRASE): Promise<Place> {
  const outer = await temporaryFolder(t)
  const passphraseFile = path.join(outer, 'passphrase')
  writeFileSync(passphraseFile, passphrase, { mode: 0o600 })
  return { folder: path.join(outer, 'keys'), passphraseFile }
}

function open({ folder, passphraseFile }: Place): Promise<KeyStore> {
  return openKeyFiles({ folder, passphraseFile, scryptLog2 })
}

function unavailable(message: RegExp): (error: unknown) => boolean {
  return (error) =>
    errorCode(error) === 'signer.unavailable' &&
    error instanceof Error &&
    message.test(error.message)
}

for (const algorithm of ['ecdsa-p256', 'ed25519'] as const)
  test(`a wrapped ${algorithm} key is the same key after a restart`, async (t) => {
    const where = await place(t)
    const made = await (await open(where)).create('user', algorithm)
    const store = await open(where)
    const loaded = await store.load('user')
    assert.deepEqual(loaded?.spki, made.spki)
    const message = Buffer.from('message')
    const signature = loaded?.sign(message) ?? Buffer.of()
    assert.ok(verifySignature(readPublicKey(made.spki), message, signature))
    assert.deepEqual(await store.list(), ['user'])
    assert.equal(store.insecure, false)
  })

test('a key that is not there is undefined, not a new key', async (t) => {
  const store = await open(await place(t))
  assert.equal(await store.load('user'), undefined)
  assert.deepEqual(await store.list(), [])
})

test('the folder is 0700 and every file in it 0600, with nothing temporary left', async (t) => {
  const where = await place(t)
  const store = await open(where)
  await store.create('user', 'ecdsa-p256')
  await store.create('snapshot', 'ed25519')
  assert.equal(statSync(where.folder).mode & 0o777, 0o700)
  assert.deepEqual(readdirSync(where.folder).sort(), ['snapshot.key', 'user.key'])
  for (const name of readdirSync(where.folder))
    assert.equal(statSync(path.join(where.folder, name)).mode & 0o777, 0o600)
})

test('a name that has a key does not get another', async (t) => {
  const where = await place(t)
  const store = await open(where)
  const first = await store.create('user', 'ecdsa-p256')
  await assert.rejects(store.create('user', 'ecdsa-p256'), { code: 'EEXIST' })
  assert.deepEqual((await store.load('user'))?.spki, first.spki)
  assert.deepEqual(readdirSync(where.folder), ['user.key'])
})

test('a name that leaves the folder is an error', async (t) => {
  const store = await open(await place(t))
  for (const name of ['../user', 'a/b', '', '.', 'User', 'user.key'])
    await assert.rejects(store.create(name, 'ed25519'), RangeError)
})

describe('the disk', () => {
  /** What PKCS#8 begins with, as DER, and what a PEM or a passphrase shows; each also as hexadecimal and base64. */
  const traces = ['308187020100301306072a8648ce3d0201', '302e020100300506032b6570']
    .map((text) => Buffer.from(text, 'hex'))
    .concat(['PRIVATE KEY', PASSPHRASE].map((word) => Buffer.from(word)))
    .flatMap((bytes) => [bytes, Buffer.from(bytes.toString('hex')), Buffer.from(base64Core(bytes))])

  test('holds no PKCS#8 and no passphrase in any file when keys are wrapped', async (t) => {
    const { folder, passphraseFile } = await place(t)
    const clock = new FakeClock()
    await openSigner({ folder, passphraseFile, cluster: 'sluice.test', clock, scryptLog2 })
    const files = readdirSync(folder)
    assert.equal(files.filter((file) => file.endsWith('.key')).length, 10)
    for (const file of files) {
      const bytes = readFileSync(path.join(folder, file))
      for (const trace of traces)
        assert.equal(bytes.indexOf(trace), -1, `${file} holds ${trace.toString('hex')}`)
    }
  })

  test('holds PKCS#8 in clear when that was asked for, so the search above can find it', async (t) => {
    const { folder } = await place(t)
    const store = await openKeyFiles({ folder, insecureKeys: true })
    assert.equal(store.insecure, true)
    for (const [name, algorithm] of [
      ['user', 'ecdsa-p256'],
      ['audit', 'ed25519'],
    ] as const) {
      await store.create(name, algorithm)
      const file = path.join(folder, `${name}.key`)
      assert.equal(statSync(file).mode & 0o777, 0o600)
      const found = traces.filter((trace) => readFileSync(file).indexOf(trace) >= 0)
      // The words of the PEM and the base64 of the DER.
      assert.equal(found.length, 2)
      assert.ok(await store.load(name))
    }
  })
})

describe('refused', () => {
  test('a store with neither a passphrase nor the word insecure', async (t) => {
    const { folder } = await place(t)
    await assert.rejects(openKeyFiles({ folder }), { code: 'config.invalid' })
  })

  test('another passphrase', async (t) => {
    const where = await place(t)
    await (await open(where)).create('user', 'ed25519')
    writeFileSync(where.passphraseFile, `${PASSPHRASE}!`)
    const store = await open(where)
    await assert.rejects(store.load('user'), unavailable(/does not open/))
  })

  test('a file under another name, and a file made cheaper', async (t) => {
    const where = await place(t)
    const store = await open(where)
    await store.create('user', 'ed25519')
    const file = path.join(where.folder, 'user.key')
    const text = readFileSync(file, 'utf8')
    writeFileSync(file, text.replace('"log2": 10', '"log2": 11'))
    await assert.rejects(store.load('user'), unavailable(/does not open/))
    writeFileSync(file, text.replace('"name": "user"', '"name": "host"'))
    await assert.rejects(store.load('user'), unavailable(/damaged/))
    renameSync(file, path.join(where.folder, 'host.key'))
    await assert.rejects(store.load('host'), unavailable(/does not open/))
  })

  test('a cost that would eat the memory, or is none', async (t) => {
    const where = await place(t)
    const store = await open(where)
    await store.create('user', 'ed25519')
    const file = path.join(where.folder, 'user.key')
    const text = readFileSync(file, 'utf8')
    for (const cost of ['21', '9', '10.5', '"10"', 'null']) {
      writeFileSync(file, text.replace('"log2": 10', `"log2": ${cost}`))
      await assert.rejects(store.load('user'), unavailable(/damaged/))
    }
  })

  test('a sealed key with any byte changed, or cut', async (t) => {
    const where = await place(t)
    const store = await open(where)
    await store.create('user', 'ed25519')
    const file = path.join(where.folder, 'user.key')
    const text = readFileSync(file, 'utf8')
    const sealed = /"sealed": "([^"]+)"/.exec(text)?.[1] ?? ''
    const bytes = Buffer.from(sealed, 'base64')
    for (let at = 0; at < bytes.length; at++) {
      const changed = Buffer.from(bytes)
      changed[at] = (changed[at] ?? 0) ^ 1
      writeFileSync(file, text.replace(sealed, changed.toString('base64')))
      await assert.rejects(store.load('user'), unavailable(/does not open/))
    }
    for (const length of [0, 8, 16, bytes.length - 1]) {
      writeFileSync(file, text.replace(sealed, bytes.subarray(0, length).toString('base64')))
      await assert.rejects(store.load('user'), unavailable(/does not open/))
    }
  })

  test('a key file that is no key file', async (t) => {
    const where = await place(t)
    const store = await open(where)
    const file = path.join(where.folder, 'user.key')
    for (const text of ['', '{}', '[]', 'null', '{"name":"user"}', 'x'.repeat(20_000)]) {
      writeFileSync(file, text, { mode: 0o600 })
      await assert.rejects(store.load('user'), unavailable(/damaged|longer/))
    }
  })

  test('a clear key where keys are wrapped, and a wrapped key without a passphrase', async (t) => {
    const where = await place(t)
    const clear = await openKeyFiles({ folder: where.folder, insecureKeys: true })
    await clear.create('user', 'ed25519')
    const wrapped = await open(where)
    await assert.rejects(wrapped.load('user'), unavailable(/in clear/))
    await wrapped.create('host', 'ed25519')
    await assert.rejects(clear.load('host'), unavailable(/wrapped/))
  })

  test('files and folders that others can read', async (t) => {
    const where = await place(t)
    await (await open(where)).create('user', 'ed25519')
    const file = path.join(where.folder, 'user.key')
    chmodSync(file, 0o640)
    await assert.rejects((await open(where)).load('user'), unavailable(/open to other users/))
    chmodSync(where.passphraseFile, 0o604)
    await assert.rejects(open(where), unavailable(/open to other users/))
    chmodSync(where.passphraseFile, 0o600)
    chmodSync(where.folder, 0o750)
    await assert.rejects(open(where), unavailable(/open to other users/))
  })

  test('a passphrase that is too short, missing or behind a link', async (t) => {
    await assert.rejects(place(t, 'fifteen letters').then(open), unavailable(/too short/))
    await assert.rejects(place(t, 'fifteen letters\n').then(open), unavailable(/too short/))
    const where = await place(t)
    const passphraseFile = `${where.passphraseFile}-link`
    await assert.rejects(open({ ...where, passphraseFile }), unavailable(/no passphrase file/))
    symlinkSync(where.passphraseFile, passphraseFile)
    await assert.rejects(open({ ...where, passphraseFile }), { code: 'ELOOP' })
  })
})

test('the line feed an editor leaves behind the passphrase does not count', async (t) => {
  const where = await place(t)
  await (await open(where)).create('user', 'ed25519')
  writeFileSync(where.passphraseFile, `${PASSPHRASE}\n`)
  assert.ok(await (await open(where)).load('user'))
})

/** Base64 of whole triples: the last characters depend on what follows. */
function base64Core(bytes: Buffer): string {
  return bytes.subarray(0, bytes.length - (bytes.length % 3)).toString('base64')
}
