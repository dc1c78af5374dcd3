// A signed message of control as it is handed from an agent to its launcher: one byte of type, the signature's length, the signature,
// the body. Inventories are no agent's business and have no form here.

import { SNAPSHOT_TYPES } from '../core/cert/signed.ts'
import { ProxyError } from '../core/errors.ts'
import type { SignedMessage } from '../core/snapshot-codec.ts'

const HEAD_BYTES = 2

/** Throws for a signature of more bytes than any has. */
export function encodeSigned({ type, body, signature }: SignedMessage): Uint8Array {
  if (signature.length > 0xff) throw new TypeError('no signature of control is so long')
  const head = Uint8Array.of(SNAPSHOT_TYPES.indexOf(type), signature.length)
  return Buffer.concat([head, signature, body])
}

export function decodeSigned(bytes: Uint8Array): SignedMessage {
  const [kind = -1, length = 0] = bytes
  const type = SNAPSHOT_TYPES[kind]
  if (type === undefined || type === 'inventory' || bytes.length < HEAD_BYTES + length)
    throw new ProxyError('protocol.violation', 'A signed message has another form.')
  const body = bytes.subarray(HEAD_BYTES + length)
  return { type, signature: bytes.subarray(HEAD_BYTES, HEAD_BYTES + length), body }
}
