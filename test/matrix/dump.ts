// pg_dump and pg_restore: a database with one of everything is dumped, restored, and dumped again: the texts are the same, and the
// same as over a direct connection. pg_dump refuses a server newer than itself, and then says so through Sluice as it does directly.

import { equal, match } from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'

import { runShell } from './clients.ts'
import { alike, type Cell, mask, masked, type Seat, type Way } from './seat.ts'

const SCHEMA = String.raw`
CREATE SCHEMA shop;
CREATE TYPE shop.state AS ENUM ('new', 'sent');
CREATE TABLE shop.customer (id int PRIMARY KEY, name text NOT NULL, photo bytea);
CREATE TABLE shop.orders (id int PRIMARY KEY, customer int REFERENCES shop.customer, state shop.state DEFAULT 'new', note text);
CREATE TABLE shop.parts (id int, at date) PARTITION BY RANGE (at);
CREATE TABLE shop.parts_2026 PARTITION OF shop.parts FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
CREATE INDEX orders_open ON shop.orders (customer) WHERE state = 'new';
CREATE SEQUENCE shop.counter START 7;
CREATE VIEW shop.open AS SELECT * FROM shop.orders WHERE state = 'new';
CREATE MATERIALIZED VIEW shop.sums AS SELECT customer, count(*) FROM shop.orders GROUP BY 1;
CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.note := coalesce(NEW.note, 'ü'); RETURN NEW; END $$;
INSERT INTO shop.customer SELECT n, 'name ' || n || E'\t\\', decode(md5(n::text), 'hex') FROM generate_series(1, 20000) n;
INSERT INTO shop.orders SELECT n, 1 + n % 20000, 'sent', NULL FROM generate_series(1, 50000) n;
INSERT INTO shop.parts SELECT n, date '2026-01-01' + n % 365 FROM generate_series(1, 5000) n;
CREATE TRIGGER touch BEFORE INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touch();
SELECT lo_from_bytea(0, convert_to(repeat('large ', 20000), 'UTF8'));
REFRESH MATERIALIZED VIEW shop.sums;
`

function refusesServer({ client, server }: Pick<Seat, 'client' | 'server'>): boolean {
  return client.version < server
}

/** What a newer pg_dump writes, an older server does not read: the manual promises nothing of the kind. */
function unlike({ client, server }: Pick<Seat, 'client' | 'server'>): string | undefined {
  return client.version === server ? undefined : 'client and server are of different versions'
}

/** Needs a shared database; fills it for the cells below. */
export const DUMP: Cell = {
  row: 'pg_dump',
  async run(seat) {
    await seat.direct.sql(SCHEMA, { dbname: seat.shared })
    const output = await alike(seat, async (way) => masked(await dump(way, seat.shared)))
    if (refusesServer(seat)) {
      equal(output.code, 1)
      match(output.stderr, /server version mismatch/)
    } else {
      equal(output.code, 0, output.stderr)
      match(output.stdout, /CREATE MATERIALIZED VIEW shop\.sums/)
    }
  },
}

export const DUMP_TO_PSQL: Cell = {
  row: 'pg_dump piped into psql',
  lacks: unlike,
  async run(seat) {
    const from = shellWord(seat.through.conninfo({ dbname: seat.shared }))
    await restored(seat, async (into) => {
      const to = shellWord(seat.through.conninfo({ dbname: into }))
      const quiet = '-X -q -o /dev/null -v ON_ERROR_STOP=1'
      const line = `pg_dump -d ${from} | psql ${quiet} -d ${to}`
      return await runShell(seat.client, line, { timeoutMs: 120_000 })
    })
  },
}

export const RESTORE: Cell = {
  row: 'pg_restore -j4, custom and directory format',
  lacks: unlike,
  async run(seat) {
    for (const format of ['custom', 'directory']) {
      const archive = join(seat.folder, `archive-${format}`)
      const jobs = format === 'directory' ? ['-j', '4'] : []
      const source = seat.through.conninfo({ dbname: seat.shared })
      const how = ['-F', format, ...jobs, '-f', archive, '-d', source]
      const dumped = await seat.through.run('pg_dump', how)
      equal(dumped.code, 0, dumped.stderr)
      await restored(seat, async (into) => {
        const target = seat.through.conninfo({ dbname: into })
        return await seat.through.run('pg_restore', ['-e', '-j', '4', '-d', target, archive])
      })
      await rm(archive, { recursive: true })
    }
  },
}

/** Restores into a new database, which must then be what the shared one is. */
async function restored(
  seat: Seat,
  work: (into: string) => Promise<{ code: number | null; stderr: string }>,
): Promise<void> {
  const into = 'restored'
  await seat.postgres.sql(`CREATE DATABASE ${into} OWNER app TEMPLATE template0`)
  try {
    const { code, stderr } = await work(into)
    equal(code, 0, stderr)
    const [is, was] = [await dump(seat.direct, into), await dump(seat.direct, seat.shared)]
    equal(is.code, 0, is.stderr)
    // Not line by line: a server keeps rows in the order it likes.
    equal(
      sorted(is.stdout) === sorted(was.stdout),
      true,
      'what was restored is not what was dumped',
    )
  } finally {
    await seat.postgres.sql(`DROP DATABASE ${into}`)
  }
}

async function dump(way: Way, dbname: string): ReturnType<Way['run']> {
  return await way.run('pg_dump', ['-d', way.conninfo({ dbname })], { timeoutMs: 120_000 })
}

function sorted(text: string): string {
  return mask(text).split('\n').sort().join('\n')
}

function shellWord(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`
}
