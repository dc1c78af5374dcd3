// What a spool remembers beside its records: which chain is the present one and how far control acknowledged it. Replaced
// whole, so that after a crash the old or the new state is there; read strictly, since a damaged one means beginning anew.

import { open, readdir, readFile, rename } from 'node:fs/promises'
import { join } from 'node:path'
import { genesis } from '../core/audit/chain.ts'
import { syncFolder } from './spool-segments.ts'

const STATE = 'state.json'

export interface SpoolState {
  /** Numbers the host's chains; rises whenever one is begun anew. */
  readonly epoch: number
  readonly acknowledged: { readonly seq: number; readonly hash: string }
}

/** Names the chain of a host: control takes a higher epoch for a new chain of the same host. */
export function writerOf(id: string, epoch: number): string {
  return `${id}/${epoch}`
}

export async function saveState(folder: string, state: SpoolState): Promise<void> {
  const fresh = join(folder, `${STATE}.new`)
  const handle = await open(fresh, 'w', 0o600)
  try {
    await handle.writeFile(JSON.stringify(state))
    await handle.sync()
  } finally {
    await handle.close()
  }
  await rename(fresh, join(folder, STATE))
  await syncFolder(folder)
}

export async function loadState(folder: string): Promise<SpoolState | undefined> {
  try {
    return readState(JSON.parse(await readFile(join(folder, STATE), 'utf8')))
  } catch {
    // Absent or damaged: a new chain is begun, and control tells the gap.
    return undefined
  }
}

/** Without a readable state: the newest chain that lies there, nothing of it known to be acknowledged; else a new one. */
export async function adoptState(folder: string, id: string, nowMs: number): Promise<SpoolState> {
  const epochs = (await readdir(folder)).filter((name) => /^\d+$/.test(name)).map(Number)
  const epoch = epochs.length > 0 ? Math.max(...epochs) : nowMs
  return { epoch, acknowledged: { seq: 0, hash: genesis(writerOf(id, epoch)).hash } }
}

function readState(value: unknown): SpoolState | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { epoch, acknowledged }: Record<string, unknown> = { ...value }
  if (typeof epoch !== 'number' || !Number.isSafeInteger(epoch)) return undefined
  if (typeof acknowledged !== 'object' || acknowledged === null) return undefined
  const { seq, hash }: Record<string, unknown> = { ...acknowledged }
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 0) return undefined
  return typeof hash === 'string' ? { epoch, acknowledged: { seq, hash } } : undefined
}
