// The whole SSH matrix through Sluice's public port: every client and every cell, at the agent's node and at a stock server without an
// agent, in a cluster that records at its nodes and in one that records at its proxies. Part of `npm run test:full`, which prints a
// table of what was covered.

import { suiteCleanup } from '../fixtures/files.ts'
import { ANSIBLE } from '../matrix-ssh/ansible.ts'
import { OPENSSH, otherReleases, TSH } from '../matrix-ssh/clients.ts'
import { bulk, EXEC } from '../matrix-ssh/exec.ts'
import { MOUNTED, RSYNC_AND_GIT, SCP_AND_SFTP } from '../matrix-ssh/files.ts'
import { FORWARD } from '../matrix-ssh/forward.ts'
import { runSshMatrix } from '../matrix-ssh/run.ts'
import { openSite, shared, sluice } from '../matrix-ssh/sluice.ts'
import { TERMINAL } from '../matrix-ssh/terminal.ts'
import { VIM_SESSION } from '../matrix-ssh/vim.ts'

const cleanup = suiteCleanup()
const clients = [OPENSSH, ...otherReleases(), TSH]

for (const mode of ['node', 'proxy'] as const) {
  const site = shared(() => openSite(cleanup, mode))
  runSshMatrix(
    `SSH clients through Sluice in ${mode} mode`,
    clients.flatMap((client) => [
      sluice(client, 'agent', mode, site),
      sluice(client, 'stock', mode, site),
    ]),
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
}
