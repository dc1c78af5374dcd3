// What the SSH matrix asks of a machine, asked of a stock OpenSSH server by Debian 12's own client: a thin slice of the matrix in
// ssh-clients.full.test.ts, to show that the cells themselves are right.

import { bulk, EXEC } from '../matrix-ssh/exec.ts'
import { RSYNC_AND_GIT, SCP_AND_SFTP } from '../matrix-ssh/files.ts'
import { FORWARD } from '../matrix-ssh/forward.ts'
import { OPENSSH } from '../matrix-ssh/clients.ts'
import { runSshMatrix } from '../matrix-ssh/run.ts'
import { stock } from '../matrix-ssh/stock.ts'
import { TERMINAL } from '../matrix-ssh/terminal.ts'

runSshMatrix(
  'SSH clients at a stock server, thin',
  [stock(OPENSSH)],
  [...EXEC, ...bulk(5_000_000), ...TERMINAL, ...SCP_AND_SFTP, ...RSYNC_AND_GIT, ...FORWARD],
)
