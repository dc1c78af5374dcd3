// The whole matrix of PostgreSQL: real clients at real servers in every mode, each compared with the same client on a direct
// connection to the same server. Part of `npm run test:full`, which prints a table of what was covered.

import { CLIENTS } from '../matrix/clients.ts'
import { COPY } from '../matrix/copy.ts'
import { DUMP, DUMP_TO_PSQL, RESTORE } from '../matrix/dump.ts'
import { MODES } from '../matrix/modes.ts'
import { LARGE_OBJECTS } from '../matrix/objects.ts'
import { BURST, CROWD, PARALLEL_WRITERS, PGBENCH_INIT, PGBENCH_SCRIPTS } from '../matrix/pgbench.ts'
import { REPLICATION, REPLICATION_REFUSED } from '../matrix/replication.ts'
import { runMatrix } from '../matrix/run.ts'
import { LARGE_RESULTS, REFUSED_LOGIN, SCRIPT_CELLS } from '../matrix/scripts.ts'
import { CANCEL, NOTIFY } from '../matrix/signals.ts'

const SERVERS = [15, 18] as const

runMatrix({
  matrix: 'PostgreSQL clients',
  modes: MODES,
  seats: SERVERS.flatMap((server) => CLIENTS.map((client) => [client, server] as const)),
  cells: [
    ...SCRIPT_CELLS,
    REFUSED_LOGIN,
    NOTIFY,
    CANCEL,
    LARGE_OBJECTS,
    LARGE_RESULTS,
    PGBENCH_INIT,
    ...PGBENCH_SCRIPTS,
    PARALLEL_WRITERS,
    CROWD,
    BURST,
    COPY,
    DUMP,
    DUMP_TO_PSQL,
    RESTORE,
    REPLICATION_REFUSED,
    REPLICATION,
  ],
})
