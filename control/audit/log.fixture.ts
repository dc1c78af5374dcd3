// What the tests of the audit log share: a folder that is removed, a signing key, a log on a clock that tests move.

import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after } from 'node:test'
import { signedMessage } from '../../core/cert/signed.ts'
import { FakeClock } from '../../core/clock.ts'
import { type AuditLog, type CheckpointSigner, openAuditLog } from '../audit.ts'

export const DAY_MS: number = 24 * 60 * 60 * 1000
/** 20 November 2026, noon. */
export const NOON: number = Date.UTC(2026, 10, 20, 12)
export const TODAY = 'events-2026-11-20.jsonl'

const { publicKey, privateKey } = generateKeyPairSync('ed25519')

export const signer: CheckpointSigner = {
  sign: (body) => Promise.resolve(sign(null, signedMessage('checkpoint', body), privateKey)),
  keys: () => [publicKey.export({ format: 'der', type: 'spki' })],
}

export interface LogFixture {
  readonly folder: string
  readonly clock: FakeClock
  /** Opens the log; what was open before is left as a killed process leaves it. */
  open(key?: CheckpointSigner): Promise<AuditLog>
  path(name: string): string
  lines(name?: string): Promise<string[]>
  write(lines: readonly string[], name?: string): Promise<void>
}

export async function newLogFolder(): Promise<LogFixture> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-audit-'))
  const open: AuditLog[] = []
  const clock = new FakeClock(NOON)
  const path = (name: string): string => join(folder, name)
  after(async () => {
    for (const log of open) await log.close().catch(() => {})
    await rm(folder, { recursive: true })
  })
  return {
    folder,
    clock,
    path,
    async open(key = signer) {
      const options = { folder, writer: 'control-1', cluster: 'c', clock, signer: key }
      const log = await openAuditLog(options)
      open.push(log)
      return log
    },
    async lines(name = TODAY) {
      return (await readFile(path(name), 'utf8')).split('\n').slice(0, -1)
    },
    async write(lines, name = TODAY) {
      await writeFile(path(name), lines.map((line) => `${line}\n`).join(''))
    },
  }
}

export async function emitMany(log: AuditLog, count: number): Promise<void> {
  const users = Array.from({ length: count }, (_, index) => `user-${index}`)
  await Promise.all(users.map((user) => log.emit('user.login', 'T1000I', { user })))
}
