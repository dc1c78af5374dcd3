// The program itself, as a person starts it: its own process, real pipes, a real terminal. Control is not there, so names are taken
// as they are typed.

import { equal, match } from 'node:assert/strict'
import { join } from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'

import { suiteCleanup } from '../../test/fixtures/files.ts'
import { NODE_FLAGS, run, start, startNode } from '../../test/fixtures/processes.ts'
import { loggedInToSsh, ME, NODE, startProxy, startSshd } from '../ssh/node.fixture.ts'
import { fakeTools } from '../tools.fixture.ts'

const MAIN = join(import.meta.dirname, '../main.ts')

describe('the program tsh', () => {
  const cleanup = suiteCleanup()
  let address = ''

  before(async () => {
    address = (await startProxy(cleanup, await startSshd(cleanup))).address
  })

  async function environment(t: TestContext): Promise<NodeJS.ProcessEnv> {
    const tools = await fakeTools(t)
    await loggedInToSsh(tools, [address])
    return {
      ...process.env,
      SLUICE_HOME: join(tools.folder, 'tsh'),
      SSH_AUTH_SOCK: '',
      TERM: 'vt100',
    }
  }

  it('ends with the command’s status although its input stays open', async (t) => {
    const env = await environment(t)
    const words = ['tsh', 'ssh', `${ME}@${NODE}`, 'echo out; echo err >&2; exit 7 #', '-d']
    const { code, stdout, stderr } = await startNode(t, MAIN, words, { env }).exit
    equal(stdout, 'out\n', stderr)
    equal(stderr, 'err\n')
    equal(code, 7)
  })

  it('gives a shell on a terminal, echoes once, and leaves the terminal as it was; the node’s is set as it is', async (t) => {
    const env = await environment(t)
    const tsh = [process.execPath, ...NODE_FLAGS, MAIN, 'tsh', 'ssh', `${ME}@${NODE}`].join(' ')
    const shell = `stty erase ^X; stty -a | tr ';' '\\n' > ${env['SLUICE_HOME'] ?? ''}/before; ${tsh}; echo ended $?; stty -a | tr ';' '\\n' | diff ${env['SLUICE_HOME'] ?? ''}/before - && echo same`
    const program = start(t, 'script', ['-q', '-e', '-c', shell, '/dev/null'], { env })
    program.write("PS1='' ; stty -echo; echo ready'-'now\r")
    await program.line(/ready-now/, 20_000)
    program.write('tty; echo $TERM; stty -a | grep -o "erase = ^."; exit 3\r')
    await program.line(/ended 3/)
    await program.line(/^same\r?$/, 20_000)
    match(program.output(), /\/dev\/pts\/\d+\r\nvt100\r\nerase = \^X\r\n/)
  })

  it('ends at ~. with 255', async (t) => {
    const env = await environment(t)
    const tsh = [process.execPath, ...NODE_FLAGS, MAIN, 'tsh', 'ssh', `${ME}@${NODE}`].join(' ')
    const program = start(t, 'script', ['-q', '-e', '-c', tsh, '/dev/null'], { env })
    program.write("stty -echo; echo ready'-'now\r")
    await program.line(/ready-now/, 20_000)
    program.write('\r~.')
    equal((await program.exit).code, 255)
  })

  it('copies a file', async (t) => {
    const env = await environment(t)
    const to = join(env['SLUICE_HOME'] ?? '', 'copied')
    const words = [...NODE_FLAGS, MAIN, 'tsh', 'scp', MAIN, `${ME}@${NODE}:${to}`]
    const { code, stderr } = await run(process.execPath, words, { env })
    equal(code, 0, stderr)
    equal((await run('cmp', [MAIN, to])).code, 0)
  })
})
