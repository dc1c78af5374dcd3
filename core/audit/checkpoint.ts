// Checkpoints of an audit chain: signed by the audit key, sent in beacons, kept by every receiver. They are what makes a
// rewritten or shortened log provable, since the chain alone can be computed anew by whoever holds the disk.

import { checkpointBody, verifySigned } from '../cert/signed.ts'
import type { AuditCheckpoint } from '../snapshot.ts'

/** True when one of `keys` (Ed25519, SPKI DER) signed it as a checkpoint. Total: malformed keys and signatures are false. */
export function isSignedCheckpoint(
  checkpoint: AuditCheckpoint,
  keys: readonly Uint8Array[],
): boolean {
  const signature = Buffer.from(checkpoint.signature, 'base64')
  return verifySigned('checkpoint', checkpointBody(checkpoint), signature, keys)
}

/** The checkpoint in an object that was parsed elsewhere, or undefined. */
export function readCheckpoint(value: unknown): AuditCheckpoint | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { writer, count, head, timeMs, signature }: Record<string, unknown> = { ...value }
  if (typeof writer !== 'string' || typeof head !== 'string' || typeof signature !== 'string') {
    return undefined
  }
  if (!isCount(count) || !isCount(timeMs) || !/^[0-9a-f]{64}$/.test(head)) return undefined
  return { writer, count, head, timeMs, signature }
}

export type CheckpointVerdict = 'newer' | 'known' | 'shortened' | 'forked'

/** What a receiver that kept `kept` learns from `next` of the same writer. Both must be signed. */
export function judgeCheckpoint(
  kept: AuditCheckpoint | undefined,
  next: AuditCheckpoint,
): CheckpointVerdict {
  if (kept === undefined || next.count > kept.count) return 'newer'
  if (next.count < kept.count) return next.timeMs > kept.timeMs ? 'shortened' : 'known'
  return next.head === kept.head ? 'known' : 'forked'
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}
