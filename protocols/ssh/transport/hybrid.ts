// The hybrid key exchange mlkem768x25519-sha256 (draft-ietf-sshm-mlkem-hybrid-kex): a secret of ML-KEM-768 and one of X25519, hashed
// together, over node:crypto. Who records the traffic today cannot read it with a quantum computer later. It knows nothing of packets.

import {
  createHash,
  createPublicKey,
  decapsulate,
  diffieHellman,
  encapsulate,
  generateKeyPairSync,
} from 'node:crypto'
import type { KeyObject } from 'node:crypto'

import { ProxyError } from '../../../core/errors.ts'

export const HYBRID_KEX = 'mlkem768x25519-sha256'

const ENCAPSULATION_KEY_BYTES = 1184
const CIPHERTEXT_BYTES = 1088
const X25519_BYTES = 32
/** DER in front of the raw key: SubjectPublicKeyInfo of ML-KEM-768 and of X25519. */
const MLKEM_SPKI = Buffer.from('308204b2300b0609608648016503040402038204a100', 'hex')
const X25519_SPKI = Buffer.from('302a300506032b656e032100', 'hex')

/** One side of one exchange. The client shows its share first; the server can show its own only when it has the client's. */
export class HybridExchange {
  readonly #server: boolean
  readonly #x25519 = generateKeyPairSync('x25519')
  readonly #mlkem: { readonly publicKey: KeyObject; readonly privateKey: KeyObject } | undefined
  #ciphertext: Uint8Array | undefined

  constructor(server: boolean) {
    this.#server = server
    this.#mlkem = server ? undefined : generateKeyPairSync('ml-kem-768')
  }

  /** What is sent: C_INIT of a client, S_REPLY of a server. */
  share(): Buffer {
    const first =
      this.#mlkem === undefined ? this.#ciphertext : raw(this.#mlkem.publicKey, MLKEM_SPKI)
    if (first === undefined) throw violation('the server’s share comes after the client’s')
    return Buffer.concat([first, raw(this.#x25519.publicKey, X25519_SPKI)])
  }

  /** The shared secret, from the other side's share. Throws for a share of a wrong length or with a useless point. */
  secret(share: Uint8Array): Buffer {
    const length = this.#server ? ENCAPSULATION_KEY_BYTES : CIPHERTEXT_BYTES
    if (share.length !== length + X25519_BYTES) throw violation('a share has the wrong length')
    const kem = this.#kem(share.subarray(0, length))
    const point = publicKey(X25519_SPKI, share.subarray(length))
    // OpenSSL refuses a point whose result is zero.
    const dh = diffieHellman({ privateKey: this.#x25519.privateKey, publicKey: point })
    return createHash('sha256').update(kem).update(dh).digest()
  }

  #kem(share: Uint8Array): Uint8Array {
    if (this.#mlkem !== undefined) return decapsulate(this.#mlkem.privateKey, share)
    const { sharedKey, ciphertext } = encapsulate(publicKey(MLKEM_SPKI, share))
    this.#ciphertext = ciphertext
    return sharedKey
  }
}

function raw(key: KeyObject, prefix: Uint8Array): Uint8Array {
  return key.export({ type: 'spki', format: 'der' }).subarray(prefix.length)
}

function publicKey(prefix: Uint8Array, bytes: Uint8Array): KeyObject {
  return createPublicKey({ key: Buffer.concat([prefix, bytes]), format: 'der', type: 'spki' })
}

function violation(what: string): ProxyError {
  return new ProxyError('protocol.violation', `The SSH key exchange failed: ${what}.`)
}
