// Terminals of logins as `who` and `utmpdump` of this machine show them, from files of a launcher's own.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, it, type TestContext } from 'node:test'

import type { Program } from '../../core/ssh/machine.ts'
import { openFolder } from '../../test/fixtures/files.ts'
import { run } from '../../test/fixtures/processes.ts'
import {
  exec,
  say,
  startLauncher,
  startWorldIn,
  throwawayLogin,
  type World,
} from './launcher.fixture.ts'

const SIZE = { columns: 80, rows: 24, width: 0, height: 0 }
const PTY = { term: 'xterm', size: SIZE, modes: Buffer.of(0) }

interface Records {
  readonly world: World
  readonly who: () => Promise<string>
  readonly last: () => Promise<string>
  /** All of wtmp. */
  readonly ever: () => Promise<string>
}

async function recorded(t: TestContext, root: string): Promise<Records> {
  const world = await startWorldIn(t, root)
  const text = async (...words: readonly string[]): Promise<string> => {
    const [program = '', ...args] = words
    return (await run(program, args, { env: { LC_ALL: 'C', TZ: 'UTC' } })).stdout
  }
  return {
    world,
    who: () => text('/usr/bin/who', path.join(root, 'utmp')),
    last: () => text('/usr/bin/last', '-w', '-f', path.join(root, 'wtmp')),
    ever: () => text('/usr/bin/utmpdump', path.join(root, 'wtmp')),
  }
}

async function withFiles(t: TestContext): Promise<string> {
  const root = await openFolder(t)
  for (const name of ['utmp', 'wtmp']) await writeFile(path.join(root, name), '')
  return root
}

/** On a terminal whose name is returned, until it is ended. */
async function sitting(world: World, login: string): Promise<{ program: Program; tty: string }> {
  const program = await world.machine(login).start({ ...exec('tty; exec sleep 1000'), pty: PTY })
  let text = ''
  while (!text.includes('\n')) text += Buffer.from((await program.io.read()) ?? []).toString()
  return { program, tty: text.trim().slice('/dev/'.length) }
}

function dead(tty: string): RegExp {
  return new RegExp(`^\\[8\\] \\[\\d+\\] .* \\[ *\\] \\[${tty} *\\] `, 'm')
}

describe('a session', () => {
  it('with a terminal is seen while it lasts and remembered when it ended; one without is not', async (t) => {
    const { world, who, last, ever } = await recorded(t, await withFiles(t))
    const login = await throwawayLogin(t)
    assert.equal((await say(world.machine(login), exec('echo quiet'))).out, 'quiet\n')
    assert.equal(await who(), '')
    const { program, tty } = await sitting(world, login)
    assert.match(await who(), new RegExp(`^${login} +${tty} .*\\(192\\.0\\.2\\.7\\)$`, 'm'))
    assert.match(
      await last(),
      new RegExp(`^${login} +${tty} +192\\.0\\.2\\.7 .*still logged in`, 'm'),
    )
    // From here on not asked of `last`, which says of what ended in this very second that it is running.
    assert.match(await ever(), new RegExp(`^\\[7\\] .* \\[${login} *\\] \\[${tty} *\\] `, 'm'))
    program.signal('KILL')
    assert.equal((await program.exit).kind, 'signal')
    assert.equal(await who(), '')
    assert.match(await ever(), dead(tty))
  })

  it('that ended with a killed launcher is ended by the next one', async (t) => {
    const root = await withFiles(t)
    const first = await recorded(t, root)
    const { tty } = await sitting(first.world, 'root')
    await first.world.process.kill('SIGKILL')
    assert.match(await first.who(), new RegExp(`^root +${tty} `, 'm'))
    await (await startLauncher(t, root)).line(/^ready/)
    assert.equal(await first.who(), '')
    assert.match(await first.ever(), dead(tty))
  })

  it('is ended in the records by a launcher that stops', async (t) => {
    const { world, who } = await recorded(t, await withFiles(t))
    await sitting(world, 'root')
    assert.notEqual(await who(), '')
    assert.equal((await world.process.kill('SIGINT')).code, 0)
    assert.equal(await who(), '')
  })
})
