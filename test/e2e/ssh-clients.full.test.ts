// The whole SSH matrix at stock OpenSSH servers of two releases: every client and every cell, before Sluice is in between. Part of
// `npm run test:full`, which prints a table of what was covered.

import { ANSIBLE } from '../matrix-ssh/ansible.ts'
import { OPENSSH, otherReleases } from '../matrix-ssh/clients.ts'
import { bulk, EXEC } from '../matrix-ssh/exec.ts'
import { MOUNTED, RSYNC_AND_GIT, SCP_AND_SFTP } from '../matrix-ssh/files.ts'
import { FORWARD } from '../matrix-ssh/forward.ts'
import { runSshMatrix } from '../matrix-ssh/run.ts'
import { stock } from '../matrix-ssh/stock.ts'
import { TERMINAL } from '../matrix-ssh/terminal.ts'
import { VIM_SESSION } from '../matrix-ssh/vim.ts'

const clients = [OPENSSH, ...otherReleases()]
/** Debian 12's, and the next release's. */
const SERVERS = [undefined, 'trixie'] as const

runSshMatrix(
  'SSH clients at stock servers',
  SERVERS.flatMap((suite) => clients.map((client) => stock(client, { suite }))),
  [
    ...EXEC,
    ...bulk(50_000_000),
    ...TERMINAL,
    VIM_SESSION,
    ...SCP_AND_SFTP,
    ...RSYNC_AND_GIT,
    ...MOUNTED,
    ...FORWARD,
    ...ANSIBLE,
  ],
)
