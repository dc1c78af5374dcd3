// What the SSH matrix asks of a machine, asked of a stock OpenSSH server by Debian 12's own client: a thin slice of the matrix in
// ssh-clients.full.test.ts, to show that the cells themselves are right. None of Sluice is in it, so it is one of each kind.

import { bulk, EXEC } from '../matrix-ssh/exec.ts'
import { SCP_AND_SFTP } from '../matrix-ssh/files.ts'
import { FORWARD } from '../matrix-ssh/forward.ts'
import { OPENSSH } from '../matrix-ssh/clients.ts'
import { runSshMatrix } from '../matrix-ssh/run.ts'
import { stock } from '../matrix-ssh/stock.ts'
import { TERMINAL } from '../matrix-ssh/terminal.ts'

runSshMatrix(
  'SSH clients at a stock server, thin',
  [stock(OPENSSH)],
  [
    ...EXEC,
    ...bulk(5_000_000).slice(-1),
    ...TERMINAL.slice(0, 1),
    ...SCP_AND_SFTP.slice(-1),
    ...FORWARD.slice(0, 1),
    ...FORWARD.slice(-1),
  ],
)
