// Terminals of logins: whose they are, what they are set to, what is said to them and by them, and how they end.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { readdirSync, readlinkSync } from 'node:fs'
import { before, describe, it } from 'node:test'

import type { Program, ProgramRequest } from '../../core/ssh/machine.ts'
import { suiteCleanup } from '../../test/fixtures/files.ts'
import { alive, run } from '../../test/fixtures/processes.ts'
import { until } from '../../test/fixtures/sockets.ts'
import { exec, say, startWorld, throwawayLogin, visit, type World } from './launcher.fixture.ts'

const SIZE = { columns: 100, rows: 30, width: 0, height: 0 }
/** VINTR ^A, VERASE ^H, no ECHO, the end: opcodes of RFC 4254 section 8, each with a number of four bytes. */
const MODES = Buffer.from('01000000010300000008350000000000', 'hex')

function onTerminal(command: string, modes: Uint8Array = Buffer.of(0)): ProgramRequest {
  return { ...exec(command), pty: { term: 'xterm-256color', size: SIZE, modes } }
}

const cleanup = suiteCleanup()
/** One for all tests of this file that do not change what it believes. */
let launcher: World

before(async () => {
  launcher = await startWorld(cleanup)
})

describe('a terminal', () => {
  it('is the login’s: its owner, its controlling terminal, its name, size and TERM', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    const command =
      'tty; echo $SSH_TTY; stat -c "%U %a" "$SSH_TTY"; stty size </dev/tty; echo $TERM; id -Gn'
    const { out, exit } = await say(world.machine(login), onTerminal(command))
    const [tty, named, owner, size, term, groups = ''] = out.split('\r\n')
    assert.match(tty ?? '', /^\/dev\/pts\/\d+$/)
    assert.equal(named, tty)
    assert.equal(owner, `${login} 620`)
    assert.deepEqual([size, term], ['30 100', 'xterm-256color'])
    assert.deepEqual(groups.split(' ').sort(), [login, 'games', 'users'].sort())
    assert.deepEqual(exit, { kind: 'status', code: 0 })
  })

  it('has the modes that were asked for before the program begins', async (context) => {
    const world = visit(launcher, context)
    const { out } = await say(world.machine('root'), onTerminal('stty -a', MODES))
    assert.match(out, /intr = \^A; /)
    assert.match(out, / erase = \^H; /)
    assert.match(out, / -echo /)
  })

  it('says all of a last long word before the exit', async (context) => {
    const world = visit(launcher, context)
    const { out, exit } = await say(world.machine('root'), onTerminal('seq 1 30000; exit 7'))
    const lines = out.split('\r\n')
    assert.deepEqual([lines.length, lines[0], lines[29_999]], [30_001, '1', '30000'])
    assert.deepEqual(exit, { kind: 'status', code: 7 })
  })

  it('passes what is typed, and a changed size', async (context) => {
    const world = visit(launcher, context)
    const command =
      'trap "stty size" WINCH; tty; echo up; while read line; do echo "got $line"; done'
    // bash runs a trap when the line it waits for is read.
    const program = await world.machine('root').start(onTerminal(command))
    const screen = new Screen(program)
    await screen.shows('up')
    const tty = screen.text.split('\r\n')[0] ?? ''
    await program.io.write(Buffer.from('hello\r'))
    await screen.shows('got hello')
    program.resize({ ...SIZE, columns: 77 })
    await until(() => sizeOf(tty) === '30 77', 'the terminal has the size')
    await program.io.write(Buffer.from('again\r'))
    await screen.shows('30 77')
    program.end()
  })

  it('holds back a writer whose program does not read, and passes all when it does', async (context) => {
    const world = visit(launcher, context)
    const count = 20_000
    const command = `stty -echo -icanon; echo up; read -n 1 x; head -c ${count * 50} | sha256sum`
    const program = await world.machine('root').start(onTerminal(`exec bash -c '${command}'`))
    const screen = new Screen(program)
    await screen.shows('up')
    const line = Buffer.alloc(50, 'y')
    await program.io.write(Buffer.from('x'))
    for (let at = 0; at < count; at++) await program.io.write(line)
    const sum = await run('/bin/sh', [
      '-c',
      `head -c ${count * 50} /dev/zero | tr '\\0' y | sha256sum`,
    ])
    await screen.shows(sum.stdout.slice(0, 64))
    assert.deepEqual(await program.exit, { kind: 'status', code: 0 })
  })

  it('signals what is in the foreground, not the shell that waits', async (context) => {
    const world = visit(launcher, context)
    const program = await world
      .machine('root')
      .start(onTerminal('set -m; sh -c "echo up; sleep 1000"; echo "ended $?"'))
    const screen = new Screen(program)
    await screen.shows('up')
    program.signal('TERM')
    await screen.shows('ended 143')
    assert.deepEqual(await program.exit, { kind: 'status', code: 0 })
  })

  it('that is hung up takes its programs with it', async (context) => {
    const world = visit(launcher, context)
    const program = await world.machine('root').start(onTerminal('echo $$; sleep 1000'))
    const screen = new Screen(program)
    await screen.shows('\n')
    const pid = Number.parseInt(screen.text, 10)
    program.end()
    await program.exit
    await until(() => !alive(pid), 'the shell is gone')
  })

  it('is not waited for when another still has it', async (context) => {
    const world = visit(launcher, context)
    const { out, exit } = await say(
      world.machine('root'),
      onTerminal('trap "" HUP; sleep 1000 & echo $!; exit 4'),
    )
    const other = Number.parseInt(out, 10)
    assert.ok(alive(other))
    assert.deepEqual(exit, { kind: 'status', code: 4 })
    process.kill(other, 'SIGKILL')
  })

  it('is no other login’s to see: programs get no descriptor of it', async (context) => {
    const world = visit(launcher, context)
    const login = await throwawayLogin(context)
    const open = await world.machine('root').start(onTerminal('echo up; sleep 1000'))
    await new Screen(open).shows('up')
    const usual = await run('/bin/ls', ['/proc/self/fd'])
    assert.equal((await say(world.machine(login), exec('ls /proc/self/fd'))).out, usual.stdout)
    const own = await say(world.machine(login), onTerminal('ls -l /proc/self/fd; ls /proc/self/fd'))
    assert.doesNotMatch(own.out, /ptmx/)
    open.end()
  })

  it('of somebody else is not given away', async (context) => {
    const world = visit(launcher, context)
    const other = await world.machine('root').start(onTerminal('tty; sleep 1000'))
    const screen = new Screen(other)
    await screen.shows('\n')
    const path = screen.text.trim()
    await assert.rejects(withTerminal(world, path), /terminal is not one of the agent/)
    await assert.rejects(withTerminal(world, '/dev/tty1'), /terminal has no such path/)
    other.end()
  })

  it('leaves no descriptor and no process', async (context) => {
    const world = visit(launcher, context)
    const machine = world.machine('root')
    await say(machine, onTerminal('true'))
    const pid = await world.terminalsPid()
    const before = masters(pid)
    for (let round = 0; round < 5; round++) await say(machine, onTerminal('seq 100'))
    const cut = await machine.start(onTerminal('sleep 1000'))
    cut.end()
    await cut.exit
    await until(() => masters(pid) === before, 'the terminals are closed')
    assert.equal(before, 0)
  })
})

/** What a terminal has shown. */
class Screen {
  text = ''
  readonly #program: Program

  constructor(program: Program) {
    this.#program = program
  }

  async shows(part: string): Promise<void> {
    while (!this.text.includes(part)) {
      const chunk = await this.#program.io.read()
      assert.ok(chunk !== undefined, `it ended without "${part}": ${this.text}`)
      this.text += Buffer.from(chunk).toString()
    }
  }
}

/** Asks the launcher past the client, as an agent that went wrong would. */
async function withTerminal(world: World, path: string): Promise<void> {
  const answer = await world.request({
    kind: 'program',
    ask: world.ask('root'),
    program: { kind: 'shell' },
    env: {},
    terminal: { path, term: 'xterm' },
  })
  throw new Error(answer.kind === 'refused' ? answer.reason : answer.kind)
}

/** Rows and columns, as the kernel has them. */
function sizeOf(tty: string): string {
  return spawnSync('/bin/stty', ['-F', tty, 'size']).stdout.toString().trim()
}

/** Masters that the process with the terminals has open. */
function masters(pid: number): number {
  const folder = `/proc/${pid}/fd`
  return readdirSync(folder).filter((name) => linkOf(`${folder}/${name}`) === '/dev/ptmx').length
}

function linkOf(file: string): string {
  try {
    return readlinkSync(file)
  } catch {
    // Closed meanwhile.
    return ''
  }
}
