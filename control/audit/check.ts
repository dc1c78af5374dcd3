// Verifies the whole log from its first record: the chain, the log's own signed checkpoints, and the anchors its receivers
// kept. Reads every byte; trusts neither the saved state nor the order of the files beyond their names.

import { type ChainPosition, genesis } from '../../core/audit/chain.ts'
import { isSignedCheckpoint } from '../../core/audit/checkpoint.ts'
import { type ChainFault, ChainVerifier, type Place } from '../../core/audit/verify.ts'
import type { AuditCheckpoint } from '../../core/snapshot.ts'
import { type LogFile, readLines } from './files.ts'
import { CHECKPOINTS } from './state.ts'

export interface VerifyReport {
  readonly ok: boolean
  /** Records that are as they were written, from the first on. */
  readonly records: number
  /** Checkpoints and anchors with a good signature that were compared. */
  readonly checkpoints: number
  readonly anchors: number
  /** Anchors left out: of another writer, or without a good signature (a receiver can send anything). */
  readonly anchorsRefused: number
  readonly fault?: ChainFault
  /** The fault in words, with its place. */
  readonly problem?: string
}

export interface CheckInput {
  readonly files: readonly LogFile[]
  readonly durableBytes: (file: LogFile) => number
  /** What the running log knows: not even a cut behind the last checkpoint goes unseen. */
  readonly known: ChainPosition
  readonly nowMs: number
  readonly checkpoints: readonly AuditCheckpoint[]
  readonly anchors: readonly AuditCheckpoint[]
  /** Public audit keys, SPKI DER: all that ever signed. */
  readonly keys: readonly Uint8Array[]
}

export async function checkLog(input: CheckInput): Promise<VerifyReport> {
  const { known, keys } = input
  const good = (anchor: AuditCheckpoint): boolean =>
    anchor.writer === known.writer && isSignedCheckpoint(anchor, keys)
  const anchors = input.anchors.filter(good)
  const unsigned = input.checkpoints.findIndex((checkpoint) => !good(checkpoint))
  const own = unsigned < 0 ? input.checkpoints : input.checkpoints.slice(0, unsigned)
  const memory: AuditCheckpoint = {
    writer: known.writer,
    count: known.seq,
    head: known.hash,
    timeMs: input.nowMs,
    signature: '',
  }
  const verifier = new ChainVerifier(genesis(known.writer), [...own, ...anchors, memory])
  const fault = await readAll(input, verifier)
  const problem = fault?.message ?? unsignedText(input.checkpoints[unsigned], unsigned)
  return {
    ok: problem === undefined,
    records: verifier.records,
    checkpoints: own.length,
    anchors: anchors.length,
    anchorsRefused: input.anchors.length - anchors.length,
    ...(fault === undefined ? {} : { fault }),
    ...(problem === undefined ? {} : { problem }),
  }
}

async function readAll(
  input: CheckInput,
  verifier: ChainVerifier,
): Promise<ChainFault | undefined> {
  let end: Place = { file: 'events', line: 1, offset: 0 }
  for (const file of input.files) {
    end = { file: file.name, line: 1, offset: 0 }
    const lines = readLines(file.path, 0, input.durableBytes(file))
    for await (const { text, number, offset, end: behind, whole } of lines) {
      // A record without its line feed is cut off, whatever its text.
      verifier.line(whole ? text : undefined, { file: file.name, line: number, offset })
      end = { file: file.name, line: number + 1, offset: behind }
    }
  }
  return verifier.end(end)
}

function unsignedText(checkpoint: AuditCheckpoint | undefined, index: number): string | undefined {
  if (checkpoint === undefined) return undefined
  return `checkpoint ${index + 1} of ${CHECKPOINTS} (record ${checkpoint.count}) has no valid signature`
}
