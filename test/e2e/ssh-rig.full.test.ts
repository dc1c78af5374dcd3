// The cells of the SSH matrix can fail: each does where a machine does not do what it wants. A cell that passed here would pass
// anywhere, and what it says of Sluice would mean nothing.

import { rejects } from 'node:assert/strict'
import { describe, it } from 'node:test'

import { type Cleanup, suiteCleanup } from '../fixtures/files.ts'
import { ANSIBLE } from '../matrix-ssh/ansible.ts'
import { OPENSSH } from '../matrix-ssh/clients.ts'
import { bulk, EXEC } from '../matrix-ssh/exec.ts'
import { MOUNTED, RSYNC_AND_GIT, SCP_AND_SFTP } from '../matrix-ssh/files.ts'
import { FORWARD } from '../matrix-ssh/forward.ts'
import { type Cell, Seat } from '../matrix-ssh/seat.ts'
import { stock } from '../matrix-ssh/stock.ts'
import { TERMINAL } from '../matrix-ssh/terminal.ts'
import { VIM_SESSION } from '../matrix-ssh/vim.ts'

describe('where every command is another one', () => {
  fail(
    [
      ...EXEC,
      ...bulk(1_000),
      ...TERMINAL,
      VIM_SESSION,
      ...SCP_AND_SFTP,
      ...RSYNC_AND_GIT,
      ...MOUNTED,
      ...ANSIBLE,
    ],
    (cleanup) => seatWith(cleanup, 'ForceCommand /bin/false'),
  )
})

describe('where nothing may be forwarded', () => {
  // What leads nowhere may lead nowhere for any reason.
  const cells = FORWARD.filter(({ row }) => !row.includes('nowhere'))
  fail(cells, (cleanup) => seatWith(cleanup, 'DisableForwarding yes'))
})

function fail(cells: readonly Cell[], open: (cleanup: Cleanup) => Promise<Seat>): void {
  const cleanup = suiteCleanup()
  let opened: Promise<Seat> | undefined
  for (const { row, run } of cells)
    it(`fails: ${row}`, async (context) => {
      opened ??= open(cleanup)
      const seat = await opened
      await rejects(run(seat, context))
    })
}

async function seatWith(cleanup: Cleanup, line: string): Promise<Seat> {
  return new Seat(await stock(OPENSSH, { lines: [line] }).open(cleanup))
}
