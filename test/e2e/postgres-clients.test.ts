// Real clients to real servers through the public port, proxy, tunnel and agent, as they behave when connected directly. A thin
// slice of the matrix in postgres-clients.full.test.ts: each client and each server once, the quick cells.

import { ON_LIBPQ_18, PSQL_15 } from '../matrix/clients.ts'
import { COPY_FEW } from '../matrix/copy.ts'
import { LARGE_OBJECTS } from '../matrix/objects.ts'
import { FEW_CONNECTS, PGBENCH_INIT, PGBENCH_SCRIPTS, PARALLEL_WRITERS } from '../matrix/pgbench.ts'
import { REPLICATION_REFUSED } from '../matrix/replication.ts'
import { runMatrix } from '../matrix/run.ts'
import { REFUSED_LOGIN, SCRIPT_CELLS } from '../matrix/scripts.ts'
import { CANCEL, NOTIFY } from '../matrix/signals.ts'

const matrix = 'PostgreSQL clients, thin'

runMatrix({
  matrix,
  modes: ['relay'],
  seats: [
    [PSQL_15, 15],
    [ON_LIBPQ_18, 18],
  ],
  cells: [
    ...SCRIPT_CELLS,
    REFUSED_LOGIN,
    NOTIFY,
    CANCEL,
    LARGE_OBJECTS,
    PGBENCH_INIT,
    ...PGBENCH_SCRIPTS,
    PARALLEL_WRITERS,
    FEW_CONNECTS,
    COPY_FEW,
    REPLICATION_REFUSED,
  ],
})

runMatrix({
  matrix,
  modes: ['terminate'],
  seats: [[ON_LIBPQ_18, 18]],
  cells: [...SCRIPT_CELLS, NOTIFY, CANCEL, PGBENCH_INIT, ...PGBENCH_SCRIPTS, COPY_FEW],
})
