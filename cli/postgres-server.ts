// A PostgreSQL server of our own for quickstart and for tests: in a given folder, on loopback, under an unprivileged uid when we
// are root (PostgreSQL refuses root). It never outlives the process that started it. Manual: PostgreSQL 18, chapters 18 and 19.

import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'

/** Where the programs are. */
export interface PostgresBinaries {
  readonly bin: string
  /** libpq and its company, for LD_LIBRARY_PATH of a client; undefined for the system's own. */
  readonly lib: string | undefined
}

export interface PostgresOptions {
  /** Data, socket and TLS files go below; made when absent, kept when it already holds a cluster. */
  readonly folder: string
  /** 0 or absent: a free one. */
  readonly port?: number
  readonly tls?: { readonly cert: string; readonly key: string; readonly ca?: string }
  /** Lines of pg_hba.conf for TCP; the unix socket is always open to whoever may enter the folder. */
  readonly hba?: readonly string[]
  /** Text of pg_ident.conf. */
  readonly ident?: string
  /** `name=value` settings. */
  readonly settings?: readonly string[]
  /** Statements run in single-user mode before the first start; needs no client program. */
  readonly sql?: readonly string[]
}

export interface Postgres {
  readonly port: number
  /** Folder of the unix socket: `psql host=<socket>` is superuser without a password. */
  readonly socket: string
  readonly pid: number
  /** The end of the server's log. */
  log(): string
  /** A fast shutdown; resolves when the process is gone. Idempotent. */
  stop(): Promise<void>
  /** Resolves when the server is gone for whatever reason. */
  readonly ended: Promise<void>
}

const SUPERUSER = 'postgres'
const NOBODY = 65534
const PORT_TRIES = 5
const run = promisify(execFile)

/** The system's PostgreSQL 15, as Debian lays it out. */
export const debianPostgres: PostgresBinaries = {
  bin: '/usr/lib/postgresql/15/bin',
  lib: undefined,
}

/** Starts a server and waits until it takes connections. A cluster is made when the folder holds none. */
export async function startPostgres(
  binaries: PostgresBinaries,
  options: PostgresOptions,
): Promise<Postgres> {
  const data = join(options.folder, 'data')
  const socket = join(options.folder, 'socket')
  await prepareFolders(options.folder, [data, socket])
  if (!existsSync(join(data, 'PG_VERSION'))) await initialise(binaries, data, options.sql ?? [])
  await writeSettings(data, socket, options)
  const tries = options.port ? 1 : PORT_TRIES
  for (let left = tries; ; left--) {
    // Somebody may take the free port before the server does; then another is tried.
    const port = options.port || (await freePort())
    const server = launch(binaries, data, socket, port)
    const problem = await server.ready
    if (problem === undefined) return server
    if (left <= 1 || !/could not bind|Address already in use/.test(problem)) throw failed(problem)
  }
}

async function prepareFolders(folder: string, inner: readonly string[]): Promise<void> {
  await mkdir(folder, { recursive: true })
  // The server's uid must be able to pass through; what it holds is in folders of that uid.
  await chmod(folder, 0o755)
  for (const path of inner) {
    await mkdir(path, { recursive: true, mode: 0o700 })
    await own(path)
  }
}

async function initialise(
  binaries: PostgresBinaries,
  data: string,
  sql: readonly string[],
): Promise<void> {
  const how = ['-A', 'trust', '-U', SUPERUSER, '--locale=C.UTF-8', '-E', 'UTF8', '--no-sync']
  const [file, args] = unprivileged(join(binaries.bin, 'initdb'), ['-D', data, ...how])
  const limits = { env: environment(), cwd: data, timeout: max('localPostgresStartMs') }
  await run(file, args, limits).catch((error: unknown) => {
    throw failed(`initdb failed: ${text(error)}`, error)
  })
  if (sql.length > 0) await singleUser(binaries, data, sql)
}

/** Runs statements without a server: `postgres --single` reads them from its input, one a line. */
async function singleUser(
  binaries: PostgresBinaries,
  data: string,
  sql: readonly string[],
): Promise<void> {
  const flags = ['--single', '-D', data, 'postgres']
  const [file, args] = unprivileged(join(binaries.bin, 'postgres'), flags)
  const limits = { env: environment(), cwd: data, timeout: max('localPostgresStartMs') }
  const running = run(file, args, limits)
  running.child.stdin?.end(`${sql.map((line) => line.replaceAll('\n', ' ')).join('\n')}\n`)
  const { stderr } = await running.catch((error: unknown) => {
    throw failed(`postgres --single failed: ${text(error)}`, error)
  })
  // It goes on after an error and exits with 0.
  const wrong = /^.*(?:ERROR|FATAL|PANIC):.*$/m.exec(stderr)
  if (wrong) throw failed(`a statement failed: ${wrong[0]}`)
}

async function writeSettings(
  data: string,
  socket: string,
  options: PostgresOptions,
): Promise<void> {
  const { tls } = options
  const files: Record<string, string> = {
    'pg_hba.conf': `local all all trust\n${(options.hba ?? defaultHba(tls !== undefined)).join('\n')}\n`,
    'pg_ident.conf': options.ident ?? '',
    'sluice.conf': settings(socket, options).join('\n'),
    'postgresql.conf': "include 'sluice.conf'\n",
  }
  if (tls) {
    files['server.crt'] = tls.cert
    files['server.key'] = tls.key
    if (tls.ca !== undefined) files['ca.crt'] = tls.ca
  }
  for (const [name, content] of Object.entries(files)) {
    const path = join(data, name)
    await writeFile(path, content, { mode: 0o600 })
    await own(path)
  }
}

function defaultHba(tls: boolean): string[] {
  const rule = tls ? 'cert clientcert=verify-full' : 'trust'
  const type = tls ? 'hostssl' : 'host'
  return [`${type} all all 127.0.0.1/32 ${rule}`, `${type} all all ::1/128 ${rule}`]
}

function settings(socket: string, options: PostgresOptions): string[] {
  const lines = [
    "listen_addresses = '127.0.0.1'",
    `unix_socket_directories = '${socket.replaceAll("'", "''")}'`,
    'max_connections = 200',
    'shared_buffers = 32MB',
  ]
  if (options.tls) {
    lines.push('ssl = on', "ssl_cert_file = 'server.crt'", "ssl_key_file = 'server.key'")
    if (options.tls.ca !== undefined) lines.push("ssl_ca_file = 'ca.crt'")
  }
  return [...lines, ...(options.settings ?? []), '']
}

type Starting = Postgres & { readonly ready: Promise<string | undefined> }

function launch(binaries: PostgresBinaries, data: string, socket: string, port: number): Starting {
  const [file, args] = unprivileged(join(binaries.bin, 'postgres'), [
    '-D',
    data,
    '-p',
    String(port),
  ])
  const child = spawn(file, args, {
    cwd: data,
    env: environment(),
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let log = ''
  const lines = (chunk: string): string =>
    (log = (log + chunk).slice(-max('localPostgresLogBytesMax')))
  child.stderr.setEncoding('utf8').on('data', lines)
  const ended = new Promise<void>((resolve) => {
    child.once('close', () => resolve())
    child.once('error', (error) => {
      lines(error.message)
      resolve()
    })
  })
  return {
    port,
    socket,
    pid: child.pid ?? 0,
    ended,
    ready: whenReady(child, ended, () => log),
    log: () => log,
    stop: () => stop(child, ended),
  }
}

/** Undefined when the server takes connections; else why not. */
async function whenReady(
  child: ChildProcess,
  ended: Promise<void>,
  log: () => string,
): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>()
  const timer = setTimeout(() => resolve('it was not ready in time'), max('localPostgresStartMs'))
  const look = (): void => {
    if (log().includes('ready to accept connections')) resolve(undefined)
  }
  child.stderr?.on('data', look)
  void ended.then(() => resolve(log().trim() || 'it ended without a word'))
  const problem = await promise
  clearTimeout(timer)
  child.stderr?.off('data', look)
  if (problem !== undefined) await stop(child, ended)
  return problem
}

async function stop(child: ChildProcess, ended: Promise<void>): Promise<void> {
  // SIGINT is PostgreSQL's fast shutdown: sessions are ended, data is written.
  child.kill('SIGINT')
  const timer = setTimeout(() => child.kill('SIGKILL'), max('localPostgresStopMs'))
  await ended
  clearTimeout(timer)
}

/** The command line under the unprivileged uid when we are root; the kernel ends it with its parent, however that dies. */
function unprivileged(file: string, args: readonly string[]): [string, string[]] {
  const setpriv = '/usr/bin/setpriv'
  if (!isRoot())
    return existsSync(setpriv) ? [setpriv, ['--pdeathsig=INT', file, ...args]] : [file, [...args]]
  if (!existsSync(setpriv)) throw failed('PostgreSQL refuses root, and setpriv is missing')
  const uid = [`--reuid=${NOBODY}`, `--regid=${NOBODY}`, '--clear-groups', '--no-new-privs']
  return [setpriv, [...uid, '--pdeathsig=INT', file, ...args]]
}

function environment(): NodeJS.ProcessEnv {
  return { PATH: '/usr/bin:/bin', LANG: 'C.UTF-8' }
}

function isRoot(): boolean {
  return process.getuid?.() === 0
}

async function own(path: string): Promise<void> {
  if (isRoot()) await chown(path, NOBODY, NOBODY)
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject).listen(0, '127.0.0.1', resolve)
  })
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw failed('no free port')
  return address.port
}

function text(error: unknown): string {
  if (!(error instanceof Error)) return String(error)
  return 'stderr' in error && typeof error.stderr === 'string' ? error.stderr.trim() : error.message
}

/** What every problem with a local server looks like to its caller. */
export function failed(message: string, cause?: unknown): ProxyError {
  return new ProxyError('dial.failed', `The local PostgreSQL did not start: ${message}`, {
    side: 'target',
    cause,
  })
}
