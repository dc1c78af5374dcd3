// One client at one server in one mode, and the same client at the same server with nothing in between: what a cell of the matrix
// is given. Each has a database of its own, and one they share, all owned by the same role.

import { deepEqual } from 'node:assert/strict'
import type { TestContext } from 'node:test'

import { conninfoOf } from '../fixtures/cluster.ts'
import type { TestPostgres } from '../fixtures/postgres.ts'
import type { Output, ProgramOptions } from '../fixtures/processes.ts'
import { type Client, runProgram, type Version } from './clients.ts'
import type { Mode } from './modes.ts'

export type Settings = Readonly<Record<string, string>>

export interface Seat {
  readonly client: Client
  readonly server: Version
  readonly mode: Mode
  /** The server itself, as its superuser. */
  readonly postgres: TestPostgres
  readonly direct: Way
  readonly through: Way
  /** Through Sluice, for somebody whose role allows replication. */
  readonly replicating: Way
  /** The database that both ways use in turn. */
  readonly shared: string
  /** Scratch, other uids may pass. */
  readonly folder: string
}

export interface Cell {
  readonly row: string
  /** Why it has nothing to try at this seat; without it, or undefined, it runs. */
  readonly lacks?: (seat: Pick<Seat, 'client' | 'server' | 'mode'>) => string | undefined
  readonly run: (seat: Seat, context: TestContext) => Promise<void>
}

/** One way to the server. */
export class Way {
  readonly client: Client
  /** Its own database. */
  readonly database: string
  readonly #settings: Settings

  constructor(client: Client, settings: Settings, database: string) {
    this.client = client
    this.#settings = settings
    this.database = database
  }

  conninfo(more: Settings = {}): string {
    return conninfoOf({ ...this.#settings, dbname: this.database, ...more })
  }

  /** psql without start-up file, in `more.dbname` or this way's own database. */
  async psql(
    args: readonly string[],
    more: Settings = {},
    options: ProgramOptions = {},
  ): Promise<Output> {
    return await this.run('psql', ['-X', '-d', this.conninfo(more), ...args], options)
  }

  /** Rows as unaligned text; throws with psql's words. */
  async sql(statements: string, more: Settings = {}): Promise<string> {
    const args = ['-q', '-A', '-t', '-v', 'ON_ERROR_STOP=1']
    const output = await this.psql(args, more, { input: statements })
    if (output.code !== 0) throw new Error(output.stderr)
    return output.stdout.trimEnd()
  }

  async run(
    program: string,
    args: readonly string[],
    options: ProgramOptions = {},
  ): Promise<Output> {
    return await runProgram(this.client, program, args, options)
  }
}

/** Does the same both ways, one after the other, and wants the same of both. Returns what it was. */
export async function alike<T>(seat: Seat, work: (way: Way) => Promise<T>): Promise<T> {
  const direct = await work(seat.direct)
  const through = await work(seat.through)
  deepEqual(through, direct)
  return direct
}

/** What must differ between two connections to one server, and nothing else. */
const MASKS: readonly (readonly [RegExp, string])[] = [
  // libpq says where it was connected to.
  [/connection to server at "[^"]*"(?: \([^)]*\))?, port \d+/g, 'connection to server'],
  [/server process with PID \d+/g, 'server process'],
  // pg_dump's protection against a hostile server: drawn anew each time.
  [/^\\(un)?restrict \w+$/gm, '\\$1restrict'],
]

/** Code, output and errors of a program, without what must differ. */
export function masked({ code, signal, stdout, stderr }: Output): Output {
  return { code, signal, stdout: mask(stdout), stderr: mask(stderr) }
}

export function mask(text: string): string {
  return MASKS.reduce((masked, [pattern, by]) => masked.replaceAll(pattern, by), text)
}
