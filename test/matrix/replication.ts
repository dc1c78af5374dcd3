// Replication: refused with a clear error to whom no role allows it, and whole for whom one does: a base backup that
// pg_verifybackup finds complete, and a stream of WAL up to a position.

import { equal, match } from 'node:assert/strict'
import { mkdir, readdir } from 'node:fs/promises'
import { join } from 'node:path'

import type { Cell, Seat, Way } from './seat.ts'

/** Programs that open a physical or a logical replication connection, in a way that ends soon. */
function asking(way: Way, folder: string): readonly (readonly [string, readonly string[]])[] {
  return [
    ['psql', ['-X', '-d', way.conninfo({ replication: 'database' }), '-c', 'IDENTIFY_SYSTEM']],
    ['psql', ['-X', '-d', way.conninfo({ replication: 'true' }), '-c', 'IDENTIFY_SYSTEM']],
    ['pg_receivewal', ['-n', '-D', folder, '-d', way.conninfo()]],
    ['pg_basebackup', ['-D', join(folder, 'refused'), '-d', way.conninfo()]],
  ]
}

export const REPLICATION_REFUSED: Cell = {
  row: 'replication without a role for it',
  async run({ through, folder }) {
    for (const [program, args] of asking(through, folder)) {
      const { code, stderr } = await through.run(program, args)
      equal(code === 0, false, `${program} got in`)
      match(stderr, /FATAL: {2}.*replication/i)
      match(stderr, /Sluice/)
    }
  },
}

/** Both sides of the WAL stream are asked to end at a position that has been written when they begin. */
export const REPLICATION: Cell = {
  row: 'replication with a role for it',
  async run(seat) {
    const way = seat.replicating
    const replication = { replication: 'database' }
    const identified = await way.psql(['-A', '-t', '-c', 'IDENTIFY_SYSTEM'], replication)
    equal(identified.code, 0, identified.stderr)
    match(identified.stdout, /^\d+\|1\|/)
    await baseBackup(seat, way)
    await walStream(seat, way)
  },
}

async function baseBackup({ folder, server }: Seat, way: Way): Promise<void> {
  const into = join(folder, 'backup')
  const how = ['-D', into, '-X', 'stream', '-c', 'fast', '-d', way.conninfo()]
  const { code, stderr } = await way.run('pg_basebackup', how, { timeoutMs: 120_000 })
  equal(code, 0, stderr)
  // The program of the server's version: an older one does not know the manifest, and WAL is read by its own version alone.
  const verified = await way.run('pg_verifybackup', [
    ...(way.client.version === server ? [] : ['-n']),
    into,
  ])
  equal(verified.code, 0, verified.stderr)
}

async function walStream({ folder, postgres }: Seat, way: Way): Promise<void> {
  const into = join(folder, 'wal')
  await mkdir(into)
  const slot = ['--slot', 'matrix']
  const made = await way.run('pg_receivewal', [...slot, '--create-slot', '-d', way.conninfo()])
  equal(made.code, 0, made.stderr)
  const endpos = await postgres.sql(
    'CREATE TABLE streamed AS SELECT generate_series(1, 100000); SELECT pg_switch_wal(); DROP TABLE streamed; SELECT pg_current_wal_lsn();',
  )
  const position = endpos.split('\n').at(-1) ?? ''
  const how = ['-n', '-D', into, '--endpos', position, ...slot, '-d', way.conninfo()]
  const { code, stderr } = await way.run('pg_receivewal', how)
  equal(code, 0, stderr)
  equal(
    (await readdir(into)).some((name) => /^[0-9A-F]{24}$/.test(name)),
    true,
  )
  const dropped = await way.run('pg_receivewal', [...slot, '--drop-slot', '-d', way.conninfo()])
  equal(dropped.code, 0, dropped.stderr)
}
