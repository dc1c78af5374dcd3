// Real SSH clients through Sluice's public port, thin: OpenSSH of Debian 12 at the agent's node in node mode and at a stock server in
// proxy mode, tsh at the node. The whole matrix is in ssh-matrix.full.test.ts.

import { suiteCleanup } from '../fixtures/files.ts'
import { OPENSSH, TSH } from '../matrix-ssh/clients.ts'
import { EXEC } from '../matrix-ssh/exec.ts'
import { SCP_AND_SFTP } from '../matrix-ssh/files.ts'
import { FORWARD } from '../matrix-ssh/forward.ts'
import { runSshMatrix } from '../matrix-ssh/run.ts'
import type { Cell } from '../matrix-ssh/seat.ts'
import { openSite, shared, sluice } from '../matrix-ssh/sluice.ts'
import { TERMINAL } from '../matrix-ssh/terminal.ts'

const MATRIX = 'SSH clients through Sluice, thin'
const SILENT = 'asks nothing and says nothing of its own'
const SIZES = 'a terminal and its size, changed twice'

const cleanup = suiteCleanup()
const node = shared(() => openSite(cleanup, 'node'))
const proxy = shared(() => openSite(cleanup, 'proxy'))

runSshMatrix(
  MATRIX,
  [sluice(OPENSSH, 'agent', 'node', node), sluice(OPENSSH, 'stock', 'proxy', proxy)],
  cells(SILENT, 'input that nobody reads', SIZES, 'sftp, a batch', 'a machine in between (-J)'),
)
runSshMatrix(MATRIX, [sluice(TSH, 'agent', 'node', node)], cells(SILENT, SIZES, 'scp both ways'))

/** Throws for a row that is none, which a filter would leave out. */
function cells(...rows: readonly string[]): readonly Cell[] {
  const all = [...EXEC, ...TERMINAL, ...SCP_AND_SFTP, ...FORWARD]
  return rows.map((row) => {
    const found = all.find((each) => each.row === row)
    if (found === undefined) throw new Error(`no cell is called ${row}`)
    return found
  })
}
