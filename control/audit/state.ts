// What the audit log keeps beside its records: signed checkpoints (`checkpoints.jsonl`) and where the last of them stood
// (`state.json`), so that opening reads the records since then and not all. Neither is trusted by a verification.

import { constants } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { readCheckpoint } from '../../core/audit/checkpoint.ts'
import type { ChainPosition } from '../../core/audit/chain.ts'
import type { AuditCheckpoint } from '../../core/snapshot.ts'
import { readLines, replaceFile } from './files.ts'

const STATE = 'state.json'
export const CHECKPOINTS = 'checkpoints.jsonl'

/** How far an emitter's chain was taken over, by emitter id. */
export type EmitterPositions = Map<string, ChainPosition>

export interface LogState {
  readonly position: ChainPosition
  /** Where the record at `position` ends. */
  readonly file: string
  readonly offset: number
  readonly emitters: EmitterPositions
}

export async function saveState(folder: string, state: LogState): Promise<void> {
  const emitters = [...state.emitters]
  await replaceFile(folder, STATE, `${JSON.stringify({ ...state, emitters })}\n`)
}

/** Undefined when there is none or it cannot be read: then the log is read from its beginning. */
export async function loadState(folder: string): Promise<LogState | undefined> {
  try {
    return readState(JSON.parse(await readFile(join(folder, STATE), 'utf8')))
  } catch {
    return undefined
  }
}

export async function appendCheckpoint(folder: string, checkpoint: AuditCheckpoint): Promise<void> {
  const flags = constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW
  const handle = await open(join(folder, CHECKPOINTS), flags, 0o600)
  try {
    // The leading line feed ends a line that a crash cut off; an empty line is nothing.
    await handle.writeFile(`\n${JSON.stringify(checkpoint)}\n`)
    await handle.datasync()
  } finally {
    await handle.close()
  }
}

/** The log's own checkpoints, oldest first. A line cut off by a crash is left out: it was never used. */
export async function loadCheckpoints(folder: string): Promise<readonly AuditCheckpoint[]> {
  const checkpoints: AuditCheckpoint[] = []
  try {
    for await (const { text } of readLines(join(folder, CHECKPOINTS))) {
      const checkpoint = parseCheckpoint(text ?? '')
      if (checkpoint !== undefined) checkpoints.push(checkpoint)
    }
  } catch (error) {
    if (!isAbsent(error)) throw error
  }
  return checkpoints
}

export function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}

function parseCheckpoint(text: string): AuditCheckpoint | undefined {
  try {
    return text === '' ? undefined : readCheckpoint(JSON.parse(text))
  } catch {
    return undefined
  }
}

function readState(value: unknown): LogState | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { position, file, offset, emitters }: Record<string, unknown> = { ...value }
  const at = readPosition(position)
  if (at === undefined || typeof file !== 'string' || typeof offset !== 'number') return undefined
  if (!Number.isSafeInteger(offset) || offset < 0 || !Array.isArray(emitters)) return undefined
  const known: EmitterPositions = new Map()
  for (const entry of emitters as unknown[]) {
    const pair: readonly unknown[] = Array.isArray(entry) ? entry : []
    const emitterAt = readPosition(pair[1])
    if (typeof pair[0] !== 'string' || emitterAt === undefined) return undefined
    known.set(pair[0], emitterAt)
  }
  return { position: at, file, offset, emitters: known }
}

/** The position in an object that was parsed elsewhere, or undefined. */
export function readPosition(value: unknown): ChainPosition | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { writer, seq, hash }: Record<string, unknown> = { ...value }
  if (typeof writer !== 'string' || typeof seq !== 'number' || typeof hash !== 'string') {
    return undefined
  }
  return Number.isSafeInteger(seq) ? { writer, seq, hash } : undefined
}
