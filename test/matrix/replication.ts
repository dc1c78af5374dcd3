// Replication: refused with a clear error to whom no role allows it, and whole for whom one does: a base backup that
// pg_verifybackup finds complete, and a stream of WAL, segment by segment.

import { equal, match } from 'node:assert/strict'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

import { startProgram } from './clients.ts'
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

/** The programs copy no server newer than themselves. */
export const REPLICATION: Cell = {
  row: 'replication with a role for it',
  lacks: ({ client, server }) =>
    client.version < server
      ? `pg_basebackup ${client.version} refuses PostgreSQL ${server}`
      : undefined,
  async run(seat, context) {
    const way = seat.replicating
    const replication = { replication: 'database' }
    const identified = await way.psql(['-A', '-t', '-c', 'IDENTIFY_SYSTEM'], replication)
    equal(identified.code, 0, identified.stderr)
    match(identified.stdout, /^\d+\|1\|/)
    await baseBackup(seat, way)
    await walStream(seat, way, context)
  },
}

async function baseBackup({ folder, server }: Seat, way: Way): Promise<void> {
  const into = join(folder, 'backup')
  const how = ['-D', into, '-X', 'stream', '-c', 'fast', '-d', way.conninfo()]
  const { code, stderr } = await way.run('pg_basebackup', how, { timeoutMs: 120_000 })
  equal(code, 0, stderr)
  // WAL is read by the programs of its own version alone.
  const withoutWal = way.client.version === server ? [] : ['-n']
  const verified = await way.run('pg_verifybackup', [...withoutWal, into])
  equal(verified.code, 0, verified.stderr)
  match(verified.stdout, /backup successfully verified/)
  await rm(into, { recursive: true })
}

/** Streams until a segment is whole, which the server ends on demand. */
async function walStream(
  { folder, postgres, client }: Seat,
  way: Way,
  context: TestContext,
): Promise<void> {
  const into = join(folder, 'wal')
  await mkdir(into)
  const how = ['-n', '-v', '-D', into, '-d', way.conninfo()]
  const stream = await startProgram(context, client, 'pg_receivewal', how)
  await stream.line(/starting log streaming/)
  await postgres.sql(
    'CREATE TABLE streamed AS SELECT generate_series(1, 100000); DROP TABLE streamed; SELECT pg_switch_wal();',
  )
  await stream.line(/finished segment/)
  const { code, stderr } = await stream.kill('SIGINT')
  equal(code, 0, stderr)
  equal(
    (await readdir(into)).some((name) => /^[0-9A-F]{24}$/.test(name)),
    true,
  )
}
