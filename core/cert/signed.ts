// Messages signed by control through the signer: snapshots, lock sets, beacons, inventory, permits (the `snapshot` key) and audit
// checkpoints (the `audit` key). Ed25519 over a message that names its type first, so that a signature of one type is
// never one of another. Verifying takes keys, never certificates: the caller states whom it trusts.

import { max } from '../limits.ts'
import type { AuditCheckpoint } from '../snapshot.ts'
import { canonicalJson } from './canonical.ts'
import { type PublicKey, readPublicKey, verifySignature } from './key.ts'

export const SNAPSHOT_TYPES = ['snapshot', 'locks', 'beacon', 'inventory'] as const
export type SnapshotType = (typeof SNAPSHOT_TYPES)[number]
export type SignedType = SnapshotType | 'permit' | 'checkpoint'

/** What is signed: `sluice:<type>:v1`, a line feed, the body. */
export function signedMessage(type: SignedType, body: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(`sluice:${type}:v1\n`), body])
}

/** Whether one of these keys (SPKI, DER) signed the body as this type. Keys that are no Ed25519 keys count for nothing. */
export function verifySigned(
  type: SignedType,
  body: Uint8Array,
  signature: Uint8Array,
  signers: readonly Uint8Array[],
): boolean {
  const message = signedMessage(type, body)
  return signers.some((spki) => {
    const key = knownKey(spki)
    return key !== undefined && verifySignature(key, message, signature)
  })
}

/** The body of a checkpoint: canonical JSON of its fields without the signature. */
export function checkpointBody(checkpoint: Omit<AuditCheckpoint, 'signature'>): Uint8Array {
  const { writer, count, head, timeMs } = checkpoint
  return Buffer.from(canonicalJson({ writer, count, head, timeMs }))
}

/** Beacons come each second from the same key; reading it costs more than the check. */
const keys = new Map<string, PublicKey | undefined>()

function knownKey(spki: Uint8Array): PublicKey | undefined {
  const name = Buffer.from(spki).toString('latin1')
  if (keys.has(name)) return keys.get(name)
  if (keys.size >= max('trustCacheMax')) keys.clear()
  const key = ed25519Key(Uint8Array.from(spki))
  keys.set(name, key)
  return key
}

function ed25519Key(spki: Uint8Array): PublicKey | undefined {
  try {
    const key = readPublicKey(spki)
    return key.algorithm === 'ed25519' ? key : undefined
  } catch {
    return undefined
  }
}
