// Real SSH clients through Sluice's public port, thin: OpenSSH of Debian 12 and tsh at the agent's node in node mode, at a stock server
// in proxy mode. The whole matrix is in ssh-matrix.full.test.ts.

import { EXEC } from '../matrix-ssh/exec.ts'
import { OPENSSH } from '../matrix-ssh/clients.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { openSite, shared, sluice } from '../matrix-ssh/sluice.ts'
import { runSshMatrix } from '../matrix-ssh/run.ts'

const cleanup = suiteCleanup()
const node = shared(() => openSite(cleanup, 'node'))
const proxy = shared(() => openSite(cleanup, 'proxy'))
runSshMatrix(
  'SSH clients through Sluice, thin',
  [sluice(OPENSSH, 'agent', 'node', node), sluice(OPENSSH, 'stock', 'proxy', proxy)],
  [...EXEC],
)
