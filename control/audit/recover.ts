// Opens the log after a stop of any kind: reads what was written since the last checkpoint, and cuts off what is no whole,
// following record. A torn write ends the file and was never acknowledged. Where whole records stand behind the bad bytes it
// was no torn write: those bytes are set aside, not deleted, and the event says so.

import { constants } from 'node:fs'
import { open, rename, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import {
  type ChainPosition,
  type ChainRecord,
  genesis,
  isIntact,
  readLine,
} from '../../core/audit/chain.ts'
import { ChainVerifier } from '../../core/audit/verify.ts'
import { type LogFile, listLogFiles, readChunks, readLines, syncFolder } from './files.ts'
import { type EmitterPositions, loadState, type LogState, readPosition } from './state.ts'

export interface Recovered {
  readonly position: ChainPosition
  readonly emitters: EmitterPositions
  /** The newest file, cut to whole records. */
  readonly last: LogFile | undefined
  readonly lastBytes: number
  /** What was cut off, for the event `audit.recovered`. */
  readonly damage: Damage | undefined
}

export interface Damage {
  readonly file: string
  readonly offset: number
  readonly dropped_bytes: number
  /** Records among the bytes that were whole: more than zero means this was no torn write. */
  readonly whole_records: number
  readonly kept_as?: string
}

export async function recoverLog(
  folder: string,
  writer: string,
  nowMs: number,
): Promise<Recovered> {
  const files = await listLogFiles(folder)
  const saved = await usableState(folder, writer, files)
  const emitters: EmitterPositions = new Map(saved?.emitters)
  const start = saved?.position ?? genesis(writer)
  const verifier = new ChainVerifier(start)
  const unread = files.filter((file) => saved === undefined || file.name >= saved.file)
  for (const [index, file] of unread.entries()) {
    const from = file.name === saved?.file ? saved.offset : 0
    const bad = await scan(file, from, verifier, emitters)
    if (bad === undefined) continue
    const damage = await cutOff(folder, file, bad, unread.slice(index + 1), nowMs)
    return { position: verifier.position, emitters, last: file, lastBytes: bad, damage }
  }
  const last = files.at(-1)
  const lastBytes = last === undefined ? 0 : (await stat(last.path)).size
  return { position: verifier.position, emitters, last, lastBytes, damage: undefined }
}

/** The saved state, when it is of this writer and its file still reaches as far. */
async function usableState(
  folder: string,
  writer: string,
  files: readonly LogFile[],
): Promise<LogState | undefined> {
  const state = await loadState(folder)
  const file = files.find((candidate) => candidate.name === state?.file)
  if (state === undefined || file === undefined || state.position.writer !== writer) {
    return undefined
  }
  return (await stat(file.path)).size >= state.offset ? state : undefined
}

/** Reads on from `from`. Returns the offset of the first byte that is no good record. */
async function scan(
  file: LogFile,
  from: number,
  verifier: ChainVerifier,
  emitters: EmitterPositions,
): Promise<number | undefined> {
  for await (const { text, number, offset, whole } of readLines(file.path, from)) {
    // The line feed is written with the record: without it the write was torn, however good the rest looks.
    if (!whole) return offset
    verifier.line(text, { file: file.name, line: number, offset })
    if (verifier.fault !== undefined) return offset
    const record = readLine(text ?? '')
    if (record !== undefined) noteEmitter(record, emitters)
  }
  return undefined
}

function noteEmitter(record: ChainRecord, emitters: EmitterPositions): void {
  const proof: unknown = record.event['emitter']
  const position = readPosition(proof)
  if (position === undefined || typeof proof !== 'object' || proof === null) return
  if ('id' in proof && typeof proof.id === 'string') emitters.set(proof.id, position)
}

async function cutOff(
  folder: string,
  file: LogFile,
  offset: number,
  later: readonly LogFile[],
  nowMs: number,
): Promise<Damage> {
  const size = (await stat(file.path)).size
  const wholeRecords = await countWhole(file.path, offset)
  const aside = `damaged-${nowMs}`
  let dropped = size - offset
  const keep = wholeRecords > 0 || later.length > 0
  if (keep) await copyAside(file.path, offset, join(folder, `${aside}-${file.name}`))
  let records = wholeRecords
  for (const next of later) {
    dropped += (await stat(next.path)).size
    records += await countWhole(next.path, 0)
    await rename(next.path, join(folder, `${aside}-${next.name}`))
  }
  await cutFile(file.path, offset)
  await syncFolder(folder)
  const facts = { file: file.name, offset, dropped_bytes: dropped, whole_records: records }
  return keep ? { ...facts, kept_as: `${aside}-${file.name}` } : facts
}

async function countWhole(path: string, from: number): Promise<number> {
  let count = 0
  for await (const { text, whole } of readLines(path, from)) {
    const record = whole && text !== undefined ? readLine(text) : undefined
    if (record !== undefined && isIntact(record)) count += 1
  }
  return count
}

async function copyAside(path: string, offset: number, target: string): Promise<void> {
  // Bounded by chunks: a damaged log may be large.
  await writeFile(target, readChunks(path, offset), { mode: 0o600, flag: 'wx', flush: true })
}

async function cutFile(path: string, size: number): Promise<void> {
  const handle = await open(path, constants.O_RDWR | constants.O_NOFOLLOW)
  try {
    await handle.truncate(size)
    await handle.sync()
  } finally {
    await handle.close()
  }
}
