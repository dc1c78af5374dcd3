// Scripts for psql whose whole output is compared: what it prints, in which order, and every word of an error, must be the same
// through Sluice as with nothing in between. Each leaves the database as it found it, because both ways run it there in turn.

import { equal } from 'node:assert/strict'
import { join } from 'node:path'

import { privateFile } from '../fixtures/files.ts'
import { alike, type Cell, masked } from './seat.ts'

interface Script {
  readonly row: string
  readonly sql: string
  /** A line that the output must hold, so that two equal failures do not pass. */
  readonly says: RegExp
  /** Of psql, when an older one does not know the commands. */
  readonly since?: 18
  readonly code?: number
  readonly env?: NodeJS.ProcessEnv
}

const ERRORS = String.raw`
\set VERBOSITY verbose
SELECT 1/0;
SELEC 1;
SELECT * FROM nowhere;
SELECT 'x'::int, 'é' AS "späte Spalte";
CREATE TABLE t (id int PRIMARY KEY, n int NOT NULL CHECK (n > 0));
INSERT INTO t VALUES (1, 1);
INSERT INTO t VALUES (1, 1);
INSERT INTO t VALUES (2, NULL);
INSERT INTO t VALUES (2, -1);
DO $$ BEGIN RAISE EXCEPTION 'said' USING DETAIL = 'more', HINT = 'try', ERRCODE = '22000', COLUMN = 'c', TABLE = 't'; END $$;
BEGIN;
SELECT 1/0;
SELECT 'not now';
ROLLBACK;
BEGIN;
SAVEPOINT s;
SELECT 1/0;
ROLLBACK TO s;
SELECT 'again';
COMMIT;
SET statement_timeout = 20;
SELECT pg_sleep(10);
RESET statement_timeout;
\errverbose
DROP TABLE t;
SELECT 'went on';
`

const META = String.raw`
CREATE SCHEMA s;
CREATE TYPE s.mood AS ENUM ('sad', 'ok');
CREATE DOMAIN s.positive AS int CHECK (VALUE > 0);
CREATE TABLE s.person (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text COLLATE "C" NOT NULL, feels s.mood DEFAULT 'ok');
CREATE TABLE s.pet (owner bigint REFERENCES s.person ON DELETE CASCADE, legs s.positive, UNIQUE (owner, legs));
CREATE INDEX ON s.pet (legs) WHERE legs > 4;
CREATE VIEW s.calm AS SELECT id, name FROM s.person WHERE feels = 'ok';
CREATE FUNCTION s.twice(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
COMMENT ON TABLE s.person IS 'people, ʻOkina included';
GRANT SELECT ON s.person TO PUBLIC;
\l
\du
\dn+
\d s.*
\d+ s.person
\dt+ s.*
\di s.*
\dv s.*
\ds s.*
\df+ s.*
\dT+ s.*
\dD s.*
\dp s.*
\sf s.twice
\sv s.calm
\dx
\do =
\dconfig work_mem
\encoding
SELECT 1 AS one, NULL AS nothing, 'x' AS text \gdesc
SELECT 'a' AS key, 1 AS value UNION SELECT 'b', 2 ORDER BY 1 \crosstabview
SELECT 'SELECT ' || n FROM generate_series(1, 3) n \gexec
SELECT 42 AS answer \gset
\echo :answer
\x on
SELECT * FROM s.person, s.pet;
\set QUIET on
SET client_min_messages = warning;
DROP SCHEMA s CASCADE;
`

const CURSORS = String.raw`
BEGIN;
DECLARE c SCROLL CURSOR FOR SELECT n, repeat('x', n) FROM generate_series(1, 1000) n;
FETCH 3 FROM c;
MOVE FORWARD 500 FROM c;
FETCH BACKWARD 2 FROM c;
FETCH LAST FROM c;
CLOSE c;
DECLARE held CURSOR WITH HOLD FOR SELECT generate_series(1, 5);
COMMIT;
FETCH ALL FROM held;
CLOSE held;
\set FETCH_COUNT 7
SELECT n, md5(n::text) FROM generate_series(1, 500) n;
SELECT 10 / (5 - n) FROM generate_series(1, 10) n;
`

const COPIES = String.raw`
CREATE TABLE t (id int, body text);
COPY t FROM STDIN;
1	one
2	\N
3	tab\there and newline\nthere
\.
COPY t FROM STDIN WITH (FORMAT csv, HEADER);
id,body
4,"quoted, with ""quotes"""
5,
\.
COPY t FROM STDIN;
6	fine
seven	not a number
\.
COPY t (id) FROM STDIN;
8	too	many
\.
COPY t TO STDOUT;
COPY (SELECT * FROM t ORDER BY id) TO STDOUT WITH (FORMAT csv, HEADER, FORCE_QUOTE *);
COPY (SELECT 1 / (id - 3) FROM t) TO STDOUT;
\copy t to program 'sort | md5sum'
\copy t from program 'printf "9\\tnine\\n"; exit 3'
\copy (SELECT * FROM generate_series(1, 300000)) to program 'head -n 2'
SELECT count(*), md5(string_agg(id || coalesce(body, '-'), ',' ORDER BY id)) FROM t;
DROP TABLE t;
`

const SESSION = String.raw`
\echo :SERVER_VERSION_NUM :ENCODING :USER
SELECT name, setting FROM pg_settings ORDER BY name;
SET client_encoding = 'LATIN1';
\encoding
\encoding UTF8
SET TimeZone = 'Asia/Kathmandu';
SELECT timestamptz '2026-01-01 00:00:00+00';
SET DateStyle = 'German';
SELECT date '2026-12-31', interval '1 day';
SET bytea_output = 'escape';
SELECT '\x00ff41'::bytea;
SET LOCAL work_mem = '2MB';
DO $$ BEGIN RAISE NOTICE 'heard'; RAISE WARNING 'loud'; END $$;
;
SELECT 1\; SELECT 2\; SELECT 3;
SELECT;
SELECT NULL, '', ' ', E'\\', '{1,NULL}'::int[], '{"a": [1, null]}'::jsonb;
PREPARE p (int) AS SELECT $1 + 1;
EXECUTE p (41);
DEALLOCATE p;
LISTEN news;
NOTIFY news, 'first';
SELECT pg_notify('news', repeat('y', 7999)) IS NOT NULL;
UNLISTEN *;
SELECT ssl, version, client_dn FROM pg_stat_ssl WHERE pid = pg_backend_pid();
SELECT current_user, session_user, inet_client_addr(), current_setting('is_superuser');
`

const EXTENDED = String.raw`
SELECT $1::int + $2::int AS sum \bind 40 2 \g
SELECT $1::text \bind 'späte' \g
SELECT 1 / $1::int \bind 0 \g
SELECT $1::int * 2 \parse twice
\bind_named twice 21 \g
\bind_named nosuch 1 \g
\close_prepared twice
\startpipeline
SELECT $1::int \bind 1 \sendpipeline
SELECT $1::int \bind 2 \sendpipeline
\syncpipeline
SELECT 1 / $1::int \bind 0 \sendpipeline
SELECT 'skipped' \bind \sendpipeline
\syncpipeline
SELECT 'after' \bind \sendpipeline
\flushrequest
\getresults 1
\endpipeline
SELECT 'in sync';
`

const ENDED = String.raw`
SELECT 'before';
SELECT pg_terminate_backend(pg_backend_pid());
SELECT 'after';
`

const IDLE_IN_TRANSACTION = String.raw`
SET idle_in_transaction_session_timeout = 50;
BEGIN;
SELECT 'begun';
\! sleep 0.5
SELECT 'too late';
`

const SCRIPTS: readonly Script[] = [
  { row: 'error fields', sql: ERRORS, says: /went on/ },
  { row: 'meta commands', sql: META, says: /ʻOkina/ },
  { row: 'cursors', sql: CURSORS, says: /division by zero/ },
  { row: 'COPY and its errors', sql: COPIES, says: /invalid input syntax for type integer/ },
  {
    row: 'session settings and parameter status',
    sql: SESSION,
    says: /Asynchronous notification "news"/,
    env: { PGAPPNAME: 'my program', PGOPTIONS: '-c work_mem=1234kB', PGTZ: 'UTC' },
  },
  { row: 'extended query and pipelines', sql: EXTENDED, says: /in sync/, since: 18 },
  { row: 'session ended by the server', sql: ENDED, says: /terminating connection/, code: 2 },
  { row: 'idle in transaction', sql: IDLE_IN_TRANSACTION, says: /idle-in-transaction/, code: 2 },
]

export const SCRIPT_CELLS: readonly Cell[] = SCRIPTS.map(
  ({ row, sql, says, since, code = 0, env = {} }) => ({
    row,
    lacks: ({ client }) =>
      since !== undefined && client.version < since
        ? `psql ${client.version} does not know the commands`
        : undefined,
    async run(seat) {
      const file = await privateFile(seat.folder, `${row.replaceAll(' ', '-')}.sql`, sql)
      const output = await alike(seat, async (way) =>
        masked(await way.psql(['-f', file], { dbname: seat.shared }, { env })),
      )
      equal(output.code, code, output.stderr)
      equal(says.test(output.stdout + output.stderr), true, output.stdout + output.stderr)
    },
  }),
)

/** Log-ins that the server refuses: its own words, as it says them to whoever connects directly. */
const REFUSED: readonly (readonly [Readonly<Record<string, string>>, RegExp])[] = [
  [{ dbname: 'nosuch' }, /database "nosuch" does not exist/],
  [{ options: '-c nosuch=1' }, /unrecognized configuration parameter "nosuch"/],
  [{ client_encoding: 'nosuch' }, /invalid value for parameter "client_encoding"/],
]

export const REFUSED_LOGIN: Cell = {
  row: 'log-ins the server refuses',
  async run(seat) {
    for (const [settings, says] of REFUSED) {
      const output = await alike(seat, async (way) =>
        masked(await way.psql(['-c', 'SELECT 1'], settings)),
      )
      equal(output.code, 2)
      equal(says.test(output.stderr), true, output.stderr)
    }
  },
}

/** Results too large to be looked at by a person: hashed by a program, so that they pass through psql as they are. */
export const LARGE_RESULTS: Cell = {
  row: 'large results',
  async run(seat) {
    const queries = [
      "SELECT repeat('a', 1000000) || n FROM generate_series(1, 40) n",
      "SELECT repeat('é', 50000000)",
      'SELECT n, md5(n::text) FROM generate_series(1, 500000) n',
    ]
    for (const query of queries) {
      const sums = await alike(seat, async (way) => {
        const out = join(seat.folder, 'result')
        const { code, stderr } = await way.psql(['-A', '-t', '-o', out, '-c', query])
        equal(code, 0, stderr)
        return (await way.run('/usr/bin/sha256sum', [out])).stdout
      })
      equal(/^[0-9a-f]{64} /.test(sums), true)
    }
  },
}
