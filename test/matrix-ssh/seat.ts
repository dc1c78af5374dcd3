// One SSH client at one machine in one mode: what a cell of the SSH matrix is given. Nothing in the cells knows what is in between, so
// that the same ones run against a stock server and through Sluice.

import { join } from 'node:path'
import type { TestContext } from 'node:test'

import { type Output, type ProgramOptions, run } from '../fixtures/processes.ts'
import { quoted } from '../fixtures/terminal.ts'
import type { Program, SshClient } from './clients.ts'

/** What somebody must provide for a seat. */
export interface SeatParts {
  readonly client: SshClient
  /** What is at the other end, and how it is reached: both are words of the table's column. */
  readonly server: string
  readonly mode: string
  /** The configuration of a person (ssh -F): keys, known hosts, the way to `host` and to `jump`. Strict, and without questions. */
  readonly config: string
  /** The machine's name, by this configuration. */
  readonly host: string
  /** Somebody's machine in between, for `ssh -J`; undefined when there is none, or when the way has its own. */
  readonly jump: string | undefined
  readonly login: string
  /** An empty folder of the client's side; short, for sockets. */
  readonly folder: string
  /** An empty folder of the login on the machine. It is the same file system, so a test looks into it. */
  readonly remote: string
  /** More of the client's environment: a client that is not OpenSSH has its home in it. */
  readonly env?: NodeJS.ProcessEnv
}

export interface Cell {
  readonly row: string
  /** Why it has nothing to try at this seat; without it, or undefined, it runs. */
  readonly lacks?: (seat: Seat) => string | undefined
  readonly run: (seat: Seat, context: TestContext) => Promise<void>
}

export class Seat {
  readonly parts: SeatParts

  constructor(parts: SeatParts) {
    this.parts = parts
  }

  get column(): string {
    const { client, server, mode } = this.parts
    return `${client.name} to ${server}, ${mode}`
  }

  /** A name on the client's side. */
  here(name: string): string {
    return join(this.parts.folder, name)
  }

  /** A name on the machine. */
  there(name: string): string {
    return join(this.parts.remote, name)
  }

  /** As scp, sftp, rsync and git name it. */
  address(name: string): string {
    return `${this.parts.login}@${this.parts.host}:${this.there(name)}`
  }

  /** The words of a command line; throws when the client has no such program, which the cell should have said. */
  words(program: Program, args: readonly string[] = []): readonly string[] {
    const begin = this.parts.client.command(program, this.parts.config)
    if (typeof begin === 'string') throw new Error(begin)
    return [...begin, ...args]
  }

  /** `ssh [options] login@host [command]`. */
  ssh(options: readonly string[], command?: string): readonly string[] {
    const who = `${this.parts.login}@${this.parts.host}`
    return this.words('ssh', [...options, who, ...(command === undefined ? [] : [command])])
  }

  /** ssh as one line for programs that start it themselves. */
  sshLine(): string {
    return this.words('ssh').map(quoted).join(' ')
  }

  async exec(
    command: string | undefined,
    options: ProgramOptions = {},
    flags: readonly string[] = [],
  ): Promise<Output> {
    return await this.run(this.ssh(flags, command), options)
  }

  /** Runs a command line in the bare environment of this seat. */
  async run(words: readonly string[], options: ProgramOptions = {}): Promise<Output> {
    const [program = '', ...args] = words
    return await run(program, args, { ...options, env: { ...this.env(), ...options.env } })
  }

  /** With input and output of any size and any bytes. */
  async piped(words: readonly string[], from: string, to: string): Promise<Output> {
    const shell = ['/bin/sh', '-c', 'exec "$@" <"$FROM" >"$TO"', 'sh', ...words]
    return await this.run(shell, { env: { FROM: from, TO: to }, timeoutMs: 180_000 })
  }

  env(): NodeJS.ProcessEnv {
    // Nothing of the developer's own reaches a client: no agent, no configuration, no language.
    const bare = { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8', HOME: this.parts.folder, TERM: 'xterm' }
    return { ...bare, ...this.parts.env }
  }
}

/** The reason why a cell has nothing to try with a client that has no such program. */
export function without(...programs: readonly Program[]) {
  return ({ parts: { client, config } }: Seat): string | undefined =>
    programs
      .map((program) => client.command(program, config))
      .find((words) => typeof words === 'string')
}

/** For what only OpenSSH's programs and options can do. */
export function opensshOnly({ parts: { client } }: Seat): string | undefined {
  return client.openssh === undefined ? `${client.name} is not OpenSSH` : undefined
}
