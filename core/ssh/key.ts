// SSH public keys and signatures (RFC 4253 section 6.6, RFC 5656, RFC 8332, RFC 8709) over node:crypto. Ed25519, ECDSA on the NIST
// curves and RSA with SHA-2; SHA-1, DSA and RSA below 2048 bits never. A key has one spelling: trailing bytes, a curve that is
// not its type's, compressed points and certificates where a key belongs are refused.

import { createPublicKey, sign, verify } from 'node:crypto'
import type { JsonWebKeyInput, KeyObject } from 'node:crypto'

import { malformed, mpint, SshReader, string } from './bytes.ts'

interface Curve {
  readonly type: string
  readonly name: string
  readonly jwk: string
  readonly digest: string
  /** Of a coordinate and of each half of a signature. */
  readonly bytes: number
}

const CURVES: readonly Curve[] = [
  { type: 'ecdsa-sha2-nistp256', name: 'nistp256', jwk: 'P-256', digest: 'sha256', bytes: 32 },
  { type: 'ecdsa-sha2-nistp384', name: 'nistp384', jwk: 'P-384', digest: 'sha384', bytes: 48 },
  { type: 'ecdsa-sha2-nistp521', name: 'nistp521', jwk: 'P-521', digest: 'sha512', bytes: 66 },
]
const RSA_DIGESTS: Readonly<Record<string, string>> = {
  'rsa-sha2-512': 'sha512',
  'rsa-sha2-256': 'sha256',
}
const ED25519_BYTES = 32
const ED25519_SIGNATURE_BYTES = 64
const RSA_BYTES_MIN = 256
const RSA_BYTES_MAX = 1024
const UNCOMPRESSED = 4

/** Key types as they stand in a blob. */
export const KEY_TYPES: readonly string[] = [
  'ssh-ed25519',
  ...CURVES.map(({ type }) => type),
  'ssh-rsa',
]

/** Signature algorithms, best first. An RSA key has two; `ssh-rsa`, which is SHA-1, is none of them. */
export const SIGNATURE_ALGORITHMS: readonly string[] = [
  'ssh-ed25519',
  ...CURVES.map(({ type }) => type),
  ...Object.keys(RSA_DIGESTS),
]

/** The key type that a signature algorithm is made with. */
export function keyTypeOf(algorithm: string): string {
  return Object.hasOwn(RSA_DIGESTS, algorithm) ? 'ssh-rsa' : algorithm
}

/** The blob of a key's public half. Throws `cert.malformed` for a kind of key that SSH has no type for here. */
export function publicBlob(key: KeyObject): Uint8Array {
  const half = key.type === 'private' ? createPublicKey(key) : key
  const jwk = half.export({ format: 'jwk' })
  if (jwk.crv === 'Ed25519') return Buffer.concat([string('ssh-ed25519'), string(bits(jwk.x))])
  const curve = CURVES.find((each) => each.jwk === jwk.crv)
  if (curve !== undefined) {
    const point = Buffer.concat([Uint8Array.of(UNCOMPRESSED), bits(jwk.x), bits(jwk.y)])
    return Buffer.concat([string(curve.type), string(curve.name), string(point)])
  }
  if (jwk.kty === 'RSA')
    return Buffer.concat([string('ssh-rsa'), mpint(bits(jwk.e)), mpint(bits(jwk.n))])
  throw malformed('this kind of key has no SSH form')
}

/** The key of a plain public key blob. Throws `cert.malformed`, also for a certificate. */
export function readPublicBlob(blob: Uint8Array): KeyObject {
  const reader = new SshReader(blob)
  const jwk = readJwk(reader)
  if (!reader.done) throw malformed('bytes follow the key')
  try {
    return createPublicKey({ key: jwk, format: 'jwk' })
  } catch {
    throw malformed('the key is no point of its curve')
  }
}

/** A whole signature: string algorithm, string signature. `algorithm` chooses between the two of an RSA key. */
export function signBlob(key: KeyObject, data: Uint8Array, algorithm = 'rsa-sha2-512'): Uint8Array {
  const type = new SshReader(publicBlob(key)).text()
  if (type === 'ssh-ed25519') return Buffer.concat([string(type), string(sign(null, data, key))])
  const curve = CURVES.find((each) => each.type === type)
  if (curve !== undefined) {
    const raw = sign(curve.digest, data, { key, dsaEncoding: 'ieee-p1363' })
    const halves = [mpint(raw.subarray(0, curve.bytes)), mpint(raw.subarray(curve.bytes))]
    return Buffer.concat([string(type), string(Buffer.concat(halves))])
  }
  const digest = RSA_DIGESTS[algorithm]
  if (digest === undefined) throw malformed(`no RSA signature is called ${algorithm}`)
  return Buffer.concat([string(algorithm), string(sign(digest, data, key))])
}

/** Whether this is a signature over `data` by the key of `blob`, with one of `algorithms`. False for everything malformed. */
export function verifyBlob(
  blob: Uint8Array,
  data: Uint8Array,
  signature: Uint8Array,
  algorithms: readonly string[] = SIGNATURE_ALGORITHMS,
): boolean {
  try {
    const reader = new SshReader(signature)
    const algorithm = reader.text()
    const bytes = reader.string()
    if (!reader.done || !algorithms.includes(algorithm)) return false
    if (keyTypeOf(algorithm) !== new SshReader(blob).text()) return false
    return verifyWith(readPublicBlob(blob), algorithm, data, bytes)
  } catch {
    // Not the structure it should be, or no key: it proves nothing.
    return false
  }
}

function verifyWith(
  key: KeyObject,
  algorithm: string,
  data: Uint8Array,
  signature: Uint8Array,
): boolean {
  if (algorithm === 'ssh-ed25519')
    return signature.length === ED25519_SIGNATURE_BYTES && verify(null, data, key, signature)
  const digest = RSA_DIGESTS[algorithm]
  if (digest !== undefined) return verify(digest, data, key, signature)
  const curve = CURVES.find((each) => each.type === algorithm)
  if (curve === undefined) return false
  const reader = new SshReader(signature)
  const halves = [reader.mpint(), reader.mpint()]
  if (!reader.done || halves.some((half) => half.length > curve.bytes)) return false
  const raw = new Uint8Array(2 * curve.bytes)
  for (const [index, half] of halves.entries())
    raw.set(half, (index + 1) * curve.bytes - half.length)
  return verify(curve.digest, data, { key, dsaEncoding: 'ieee-p1363' }, raw)
}

function readJwk(reader: SshReader): JsonWebKeyInput['key'] {
  const type = reader.text()
  if (type === 'ssh-ed25519') {
    const x = reader.string()
    if (x.length !== ED25519_BYTES) throw malformed('an Ed25519 key has 32 bytes')
    return { kty: 'OKP', crv: 'Ed25519', x: base64url(x) }
  }
  if (type === 'ssh-rsa') {
    const [e, n] = [reader.mpint(), reader.mpint()]
    if (n.length < RSA_BYTES_MIN || n.length > RSA_BYTES_MAX || e.length > 8)
      throw malformed('an RSA key has 2048 to 8192 bits here')
    return { kty: 'RSA', e: base64url(e), n: base64url(n) }
  }
  const curve = CURVES.find((each) => each.type === type)
  if (curve === undefined) throw malformed('the key type is unknown')
  if (reader.text() !== curve.name) throw malformed('the curve is not that of the key type')
  const point = reader.string()
  if (point.length !== 1 + 2 * curve.bytes || point[0] !== UNCOMPRESSED)
    throw malformed('the point is not an uncompressed one of its curve')
  const [x, y] = [point.subarray(1, 1 + curve.bytes), point.subarray(1 + curve.bytes)]
  return { kty: 'EC', crv: curve.jwk, x: base64url(x), y: base64url(y) }
}

function bits(text: string | undefined): Uint8Array {
  return Buffer.from(text ?? '', 'base64url')
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url')
}
