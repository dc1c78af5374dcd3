// pgbench: its tables, its built-in scripts in all query modes, a crowd of clients. With one client and a fixed seed a run is
// deterministic but for its times, so what it did to the tables is compared with the same run on a direct connection.

import { equal, match } from 'node:assert/strict'

import { alike, type Cell, type Way } from './seat.ts'

const SCRIPTS = ['tpcb-like', 'simple-update', 'select-only'] as const
const QUERY_MODES = ['simple', 'extended', 'prepared'] as const

/** What the tables hold, without the times of a run. */
const CONTENT = `
SELECT 'accounts', count(*), md5(string_agg(aid || ' ' || bid || ' ' || abalance, ',' ORDER BY aid)) FROM pgbench_accounts;
SELECT 'tellers', count(*), md5(string_agg(tid || ' ' || bid || ' ' || tbalance, ',' ORDER BY tid)) FROM pgbench_tellers;
SELECT 'branches', count(*), md5(string_agg(bid || ' ' || bbalance, ',' ORDER BY bid)) FROM pgbench_branches;
SELECT 'history', count(*), sum(delta), sum(aid), sum(tid) FROM pgbench_history;
`

/** The sums of TPC-B that must agree: `simple-update` leaves tellers and branches alone, and writes history like the other. */
const SUMS = `
SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history),
       (SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(tbalance) FROM pgbench_tellers);
`

async function pgbench(way: Way, args: readonly string[], transactions: number): Promise<void> {
  const { stdout, stderr, code } = await way.run('pgbench', [...args, way.conninfo()])
  equal(code, 0, stderr)
  const processed = `number of transactions actually processed: ${transactions}/${transactions}`
  match(stdout, new RegExp(processed), stderr)
  equal(/^pgbench: (error|warning)|failed/m.test(stderr), false, stderr)
}

export const PGBENCH_INIT: Cell = {
  row: 'pgbench -i',
  async run(seat) {
    const content = await alike(seat, async (way) => {
      const { code, stderr } = await way.run('pgbench', ['-i', '-s', '1', '-q', way.conninfo()])
      equal(code, 0, stderr)
      return await way.sql(CONTENT)
    })
    match(content, /^accounts\|100000\|/)
  },
}

/** Needs the tables of `pgbench -i`. */
export const PGBENCH_SCRIPTS: readonly Cell[] = SCRIPTS.map((script) => ({
  row: `pgbench ${script}`,
  async run(seat) {
    for (const mode of QUERY_MODES) {
      const how = ['-n', '-b', script, '-M', mode]
      const one = ['--random-seed=7', '-c', '1', '-t', '50']
      await alike(seat, async (way) => {
        await pgbench(way, [...how, ...one], 50)
        return await way.sql(CONTENT)
      })
    }
  },
}))

/** Many at a time: the order of their transactions is theirs, the sums are not. The direct way is left as it is. */
export const PARALLEL_WRITERS: Cell = {
  row: 'pgbench, 8 writers at once',
  async run({ through }) {
    for (const mode of QUERY_MODES) {
      const how = ['-n', '-b', 'tpcb-like', '-M', mode, '-c', '8', '-j', '2', '-t', '10']
      await pgbench(through, how, 80)
    }
    equal(await through.sql(SUMS), 't|t')
  },
}

export const CROWD: Cell = {
  row: '200 clients at once',
  async run({ through }) {
    const crowd = ['-n', '-S', '-M', 'prepared', '-c', '200', '-j', '2']
    await pgbench(through, [...crowd, '-t', '20'], 4000)
  },
}

export const BURST: Cell = connects(200)
export const FEW_CONNECTS: Cell = connects(20)

function connects(clients: number): Cell {
  return {
    row: `${clients} connects at once, twice`,
    async run({ through }) {
      const how = ['-n', '-S', '-C', '-c', String(clients), '-j', '2', '-t', '2']
      await pgbench(through, how, 2 * clients)
    },
  }
}
