// One program of a login: started with the agent's own connections as its input, output and errors, or with a terminal; signalled,
// hung up, awaited. After the start the launcher has no descriptor of it, and no byte of it ever passes through here.

import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process'
import { readFileSync } from 'node:fs'
import type { Socket } from 'node:net'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Exit } from '../../core/ssh/machine.ts'
import type { Account } from './account.ts'
import { becoming, type ProgramLine } from './program-line.ts'

/** What it speaks through: three sockets, or the descriptor of its terminal. */
export type ProgramEnds =
  | { readonly kind: 'sockets'; readonly sockets: readonly [Socket, Socket, Socket] }
  | { readonly kind: 'terminal'; readonly descriptor: number }

/** Those of RFC 4254 section 6.10. */
const SIGNALS: readonly string[] = [
  'ABRT',
  'ALRM',
  'FPE',
  'HUP',
  'ILL',
  'INT',
  'KILL',
  'PIPE',
  'QUIT',
  'SEGV',
  'TERM',
  'USR1',
  'USR2',
]

export class Program {
  readonly exit: Promise<Exit>
  readonly pid: number
  readonly #account: Account
  readonly #terminal: boolean
  #ended = false

  private constructor(child: ChildProcess, pid: number, account: Account, terminal: boolean) {
    this.pid = pid
    this.#account = account
    this.#terminal = terminal
    this.exit = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        this.#ended = true
        resolve(exitOf(code, signal))
      })
    })
  }

  /** The ends are the program's from here on; whoever passed them closes its own. */
  static async start(
    line: ProgramLine,
    env: Readonly<Record<string, string>>,
    account: Account,
    ends: ProgramEnds,
  ): Promise<Program> {
    const terminal = ends.kind === 'terminal'
    // Without a terminal it leads a session of its own too, so that a signal reaches all it started. setsid does it otherwise:
    // a leader already, it would fork, and the pid would be another.
    const child = spawn(line.file, line.args, {
      cwd: '/',
      env,
      stdio: stdioOf(ends),
      detached: !terminal,
    })
    const pid = await started(child)
    return new Program(child, pid, account, terminal)
  }

  /** To the foreground of its terminal, or to all of its session's first group. A name that is unknown does nothing. */
  signal(name: string): void {
    if (this.#ended || !SIGNALS.includes(name)) return
    this.#send(name, 1)
  }

  /** Of a terminal the kernel sends it, once that is closed. */
  hangUp(): void {
    if (this.#ended || this.#terminal) return
    this.#send('HUP', 1)
  }

  /**
   * Sent by the login itself: whatever it may not signal, such as what sudo started, is not signalled for it by root. A program that
   * was just started is still root on its way to become the login, and cannot be signalled by it yet.
   */
  #send(name: string, attempt: number): void {
    if (this.#ended) return
    const group = this.#terminal ? foreground(this.pid) : this.pid
    const sh = ['/bin/sh', '-c', 'kill -s "$0" -- "-$1"', name, String(group)]
    const [file, ...args] = [...becoming(this.#account), ...sh]
    if (file === undefined) return
    const sender = spawn(file, args, { cwd: '/', env: {}, stdio: 'ignore' })
    // A machine that can start nothing more has nobody to tell.
    sender.on('error', () => {})
    sender.once('exit', (code) => {
      if (code === 0 || attempt >= max('launchSignalTriesMax')) return
      setTimeout(() => this.#send(name, attempt + 1), max('launchSignalRetryMs')).unref()
    })
  }
}

function stdioOf(ends: ProgramEnds): StdioOptions {
  if (ends.kind === 'sockets') return [...ends.sockets]
  return [ends.descriptor, ends.descriptor, ends.descriptor]
}

function started(child: ChildProcess): Promise<number> {
  return new Promise((resolve, reject) => {
    const failed = (cause: Error): void =>
      reject(
        new ProxyError('policy.denied', 'This machine could not start the program.', { cause }),
      )
    child.once('error', failed)
    child.once('spawn', () => {
      child.off('error', failed)
      child.on('error', () => {})
      resolve(child.pid ?? 0)
    })
  })
}

/** The group in the foreground of the terminal a process leads: the eighth field of proc(5) stat, counted behind the name. */
function foreground(pid: number): number {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const group = Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[5])
    return group > 1 ? group : pid
  } catch {
    return pid
  }
}

function exitOf(code: number | null, signal: string | null): Exit {
  if (code !== null) return { kind: 'status', code }
  const name = (signal ?? 'SIGKILL').slice('SIG'.length)
  return { kind: 'signal', name, core: false, text: '' }
}
