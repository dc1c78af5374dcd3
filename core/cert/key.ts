// Keys as certificates carry them: SubjectPublicKeyInfo in its one canonical form per algorithm, and what signs.
// Two algorithms: ECDSA P-256 for X.509, Ed25519 for SSH and signed messages. Anything else, and any other spelling of
// these (compressed points, explicit curves, a certificate where a key belongs), is refused. Never keeps a key on disk.

import { createPublicKey, generateKeyPairSync, hash, sign, verify } from 'node:crypto'
import type { KeyObject } from 'node:crypto'

import { malformed } from './der.ts'

export const KEY_ALGORITHMS = ['ecdsa-p256', 'ed25519'] as const
export type KeyAlgorithm = (typeof KEY_ALGORITHMS)[number]

/** Something that signs: a key in memory, later one in a token or a key service. */
export interface Signer {
  readonly algorithm: KeyAlgorithm
  /** SubjectPublicKeyInfo, DER. */
  readonly spki: Uint8Array
  /** ECDSA: DER signature over SHA-256. Ed25519: 64 bytes. */
  sign(bytes: Uint8Array): Uint8Array
}

export interface PublicKey {
  readonly algorithm: KeyAlgorithm
  readonly spki: Uint8Array
  /** The bits of the BIT STRING: what key identifiers are computed over. */
  readonly bits: Uint8Array
  readonly key: KeyObject
}

interface Form {
  readonly prefix: Buffer
  readonly length: number
}

// SEQUENCE { SEQUENCE { algorithm, curve }, BIT STRING { … } } up to the key itself; the rest has one length.
const FORMS: Readonly<Record<KeyAlgorithm, Form>> = {
  // RFC 5480: id-ecPublicKey, prime256v1, uncompressed point (04 is part of the prefix)
  'ecdsa-p256': {
    prefix: Buffer.from('3059301306072a8648ce3d020106082a8648ce3d03010703420004', 'hex'),
    length: 91,
  },
  // RFC 8410: id-Ed25519 without parameters
  ed25519: { prefix: Buffer.from('302a300506032b6570032100', 'hex'), length: 44 },
}

const BITS_AT: Readonly<Record<KeyAlgorithm, number>> = { 'ecdsa-p256': 26, ed25519: 12 }

/** Which of our algorithms these bytes are a key of; undefined for any other bytes. Says nothing of the point. */
export function keyAlgorithm(spki: Uint8Array): KeyAlgorithm | undefined {
  return KEY_ALGORITHMS.find((algorithm) => {
    const { prefix, length } = FORMS[algorithm]
    return spki.length === length && prefix.equals(spki.subarray(0, prefix.length))
  })
}

/** Throws `cert.malformed` for what is not a plain key of ours, and for points that are not on the curve. */
export function readPublicKey(spki: Uint8Array): PublicKey {
  const algorithm = keyAlgorithm(spki)
  if (algorithm === undefined) throw malformed('the key is neither ECDSA P-256 nor Ed25519')
  try {
    const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' })
    return { algorithm, spki, bits: spki.subarray(BITS_AT[algorithm]), key }
  } catch {
    throw malformed('the key is no point of its curve')
  }
}

export function verifySignature(key: PublicKey, bytes: Uint8Array, signature: Uint8Array): boolean {
  return verify(digestOf(key.algorithm), bytes, key.key, signature)
}

/** A fresh key pair: the private half as a KeyObject, and a Signer over it. */
export function generateKey(algorithm: KeyAlgorithm): { privateKey: KeyObject; signer: Signer } {
  const { privateKey } =
    algorithm === 'ed25519'
      ? generateKeyPairSync('ed25519')
      : generateKeyPairSync('ec', { namedCurve: 'P-256' })
  return { privateKey, signer: signerOf(privateKey) }
}

/** A Signer over a private key. Throws `cert.malformed` for a key of another kind. */
export function signerOf(privateKey: KeyObject): Signer {
  const spki: Uint8Array = createPublicKey(privateKey).export({ format: 'der', type: 'spki' })
  const algorithm = keyAlgorithm(spki)
  if (algorithm === undefined) throw malformed('the key is neither ECDSA P-256 nor Ed25519')
  const digest = digestOf(algorithm)
  return { algorithm, spki, sign: (bytes) => sign(digest, bytes, privateKey) }
}

/** RFC 7093 method 1: the first 160 bits of SHA-256 over the key's bits. */
export function keyId(key: PublicKey): Uint8Array {
  return hash('sha256', key.bits, 'buffer').subarray(0, 20)
}

/** SHA-256 of the SubjectPublicKeyInfo, lower-case hexadecimal: what locks name. */
export function keySha256(spki: Uint8Array): string {
  return hash('sha256', spki, 'hex')
}

/** The pin people compare: `sha256:` and the same hash. */
export function keyPin(spki: Uint8Array): string {
  return `sha256:${keySha256(spki)}`
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

function digestOf(algorithm: KeyAlgorithm): 'sha256' | null {
  return algorithm === 'ed25519' ? null : 'sha256'
}
