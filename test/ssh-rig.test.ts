// The rig of the SSH matrix itself: throwaway accounts that really go, and a terminal that keeps exactly what it got. That its cells can
// fail is in e2e/ssh-rig.full.test.ts.

import { deepEqual, equal, rejects } from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { userInfo } from 'node:os'
import { describe, it } from 'node:test'

import { type Account, openAccount, processesOf } from './fixtures/account.ts'
import { NODE_FLAGS, run, start } from './fixtures/processes.ts'
import { Terminal } from './fixtures/terminal.ts'

const ROOT = userInfo().uid === 0
const ENV = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', TERM: 'xterm' }
const SIZE = { rows: 24, columns: 80 }

describe('a throwaway account', () => {
  it('has a home of its own and is gone with its processes, its name and its home', async (t) => {
    let account: Account | undefined
    await t.test('inner', async (inner) => {
      account = await openAccount(inner)
      const { login, uid, home } = account
      equal(statSync(home).uid, uid)
      if (!ROOT) return
      const as = ['--reuid', login, '--regid', login, '--init-groups', '/bin/sh', '-c']
      // What daemons do: the program itself ends, its child stays, in a session of its own.
      const line = 'id -un; setsid sleep 600 >/dev/null 2>&1 </dev/null &'
      equal((await run('/usr/bin/setpriv', [...as, line])).stdout, `${login}\n`)
      equal(processesOf(uid).length, 1)
    })
    equal(existsSync(account?.home ?? '/'), false)
    if (!ROOT) return
    equal(readFileSync('/etc/passwd', 'utf8').includes(account?.login ?? ''), false)
    deepEqual(processesOf(account?.uid ?? 0), [])
  })

  it('of a test that was killed is removed by the next', async (t) => {
    if (!ROOT) return
    const fixture = new URL('./fixtures/account.ts', import.meta.url).href
    const code = `import { openAccount } from '${fixture}'
      const { login } = await openAccount({ after() {} })
      console.log('account ' + login)
      setInterval(() => {}, 1000)`
    const args = [...NODE_FLAGS, '--input-type=module', '--eval', code]
    const other = start(t, process.execPath, args)
    const line = await other.line(/^account /)
    const login = line.slice('account '.length)
    await openAccount(t)
    equal((await run('/usr/bin/id', ['-u', login])).code, 0, 'its test is still there')
    await other.kill('SIGKILL')
    await openAccount(t)
    equal((await run('/usr/bin/id', ['-u', login])).code, 1)
  })
})

describe('a terminal', () => {
  it('keeps every byte that a program wrote, in order and with times', async (t) => {
    const octal = Array.from({ length: 256 }, (_, at) => `\\${at.toString(8).padStart(3, '0')}`)
    const command = ['/bin/sh', '-c', `stty raw; printf '${octal.join('')}'; exit 3`]
    const terminal = await Terminal.open(t, command, { size: SIZE, env: ENV })
    equal((await terminal.exit).code, 3)
    deepEqual([...terminal.bytes()], [...Array(256).keys()])
    equal(
      terminal.frames.every(({ atMs }, at) => atMs >= (terminal.frames[at - 1]?.atMs ?? 0)),
      true,
    )
  })

  it('has the size it was opened with, and another when it is changed', async (t) => {
    const command = ['/bin/sh', '-c', 'stty size; read line; stty size; exit 0']
    const terminal = await Terminal.open(t, command, { size: SIZE, env: ENV })
    await terminal.shows(/^24 80\r\n/)
    await terminal.resize({ rows: 7, columns: 9 })
    terminal.type('\r')
    await terminal.shows(/\n7 9\r\n$/)
    equal((await terminal.exit).code, 0)
  })

  it('says what it showed when what was waited for never came', async (t) => {
    const command = ['/bin/sh', '-c', 'echo something else']
    const terminal = await Terminal.open(t, command, { size: SIZE, env: ENV })
    await rejects(terminal.shows(/nothing like it/), /it ended without .*something else/)
  })
})
