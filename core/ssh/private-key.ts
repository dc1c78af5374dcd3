// Ed25519 private keys in OpenSSH's own file format (OpenSSH's PROTOCOL.key, openssh-key-v1): the only one its programs read for
// Ed25519. Without a passphrase, one key per file: other files are refused, not half read. Every field is checked against the public half.

import { createPrivateKey, randomBytes, type KeyObject } from 'node:crypto'

import { malformed, SshReader, string, u32 } from './bytes.ts'
import { publicBlob } from './key.ts'

const MAGIC = 'openssh-key-v1\0'
const BEGIN = '-----BEGIN OPENSSH PRIVATE KEY-----'
const END = '-----END OPENSSH PRIVATE KEY-----'
const TYPE = 'ssh-ed25519'
const LINE_CHARS = 70
const BLOCK_BYTES = 8
const SEED_BYTES = 32
/** PKCS#8 of an Ed25519 key up to its seed (RFC 8410, section 7). */
const PKCS8 = Buffer.from('302e020100300506032b657004220420', 'hex')
/** A key of ours with a long comment has 600. */
const TEXT_CHARS_MAX = 16 * 1024

/** The text of a private key file. Throws `cert.malformed` for a key that is not Ed25519. */
export function writePrivateKey(key: KeyObject, comment: string): string {
  // The same random number twice: how a reader of an encrypted file knows that the passphrase was right.
  const check = randomBytes(4)
  const fields = Buffer.concat([check, check, privateFields(key), string(comment)])
  const blob = Buffer.concat([
    Buffer.from(MAGIC),
    string('none'),
    string('none'),
    string(''),
    u32(1),
    string(publicBlob(key)),
    string(Buffer.concat([fields, padding(fields.length)])),
  ])
  const lines = blob.toString('base64').match(new RegExp(`.{1,${LINE_CHARS}}`, 'g')) ?? []
  return [BEGIN, ...lines, END, ''].join('\n')
}

/** Type, public key, and seed with public key: as they stand in a file and in what ssh-agent is given. */
export function privateFields(key: KeyObject): Uint8Array {
  return Buffer.concat([string(TYPE), ...secretFields(key)])
}

/** The same behind the type: what follows a certificate in what ssh-agent is given. */
export function secretFields(key: KeyObject): readonly Uint8Array[] {
  const { crv, d, x } = key.export({ format: 'jwk' })
  if (crv !== 'Ed25519' || d === undefined || x === undefined)
    throw malformed('only Ed25519 private keys are written here')
  const [seed, half] = [Buffer.from(d, 'base64url'), Buffer.from(x, 'base64url')]
  return [string(half), string(Buffer.concat([seed, half]))]
}

/** The key of a file. Throws `cert.malformed`; never says what stands in it. */
export function readPrivateKey(text: string): KeyObject {
  const body = text.trim()
  if (text.length > TEXT_CHARS_MAX || !body.startsWith(BEGIN) || !body.endsWith(END))
    throw malformed('it is no OpenSSH private key file')
  const blob = Buffer.from(body.slice(BEGIN.length, -END.length), 'base64')
  if (blob.subarray(0, MAGIC.length).toString('latin1') !== MAGIC)
    throw malformed('it is no OpenSSH private key file')
  const reader = new SshReader(blob.subarray(MAGIC.length))
  const [cipher, kdf, options] = [reader.text(), reader.text(), reader.string()]
  if (cipher !== 'none' || kdf !== 'none' || options.length > 0)
    throw malformed('private keys with a passphrase are not read here')
  if (reader.u32() !== 1) throw malformed('the file holds more than one key')
  const half = reader.string()
  const secret = reader.string()
  if (!reader.done) throw malformed('bytes follow the key')
  return readSecret(new SshReader(secret), secret.length, half)
}

function readSecret(reader: SshReader, length: number, half: Uint8Array): KeyObject {
  if (reader.u32() !== reader.u32()) throw malformed('the check numbers differ')
  if (reader.text() !== TYPE) throw malformed('only Ed25519 private keys are read here')
  const x = reader.string()
  const pair = reader.string()
  reader.text()
  for (let expected = 1; !reader.done; expected++)
    if (reader.u8() !== expected) throw malformed('the padding is wrong')
  if (length % BLOCK_BYTES !== 0 || pair.length !== 2 * SEED_BYTES)
    throw malformed('a length is wrong')
  const key = fromSeed(pair.subarray(0, SEED_BYTES))
  // A public half that does not belong to the seed: two signatures with it would give the seed away.
  const real = publicBlob(key)
  const told = Buffer.concat([string(TYPE), string(x)])
  if (Buffer.compare(real, half) !== 0 || Buffer.compare(real, told) !== 0)
    throw malformed('the halves do not belong together')
  if (Buffer.compare(pair.subarray(SEED_BYTES), x) !== 0)
    throw malformed('the halves do not belong together')
  return key
}

/** From the seed alone, by way of PKCS#8, so that the public half is computed. */
function fromSeed(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.concat([PKCS8, seed]), format: 'der', type: 'pkcs8' })
}

function padding(length: number): Uint8Array {
  const bytes = (BLOCK_BYTES - (length % BLOCK_BYTES)) % BLOCK_BYTES
  return Uint8Array.from({ length: bytes }, (_, at) => at + 1)
}
