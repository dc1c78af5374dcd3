// The drivers whose programs lie beside this file, and how each is started: the same program, connected in clear to a local port or
// with TLS and certificate of its own. A driver's program gets its settings through its environment and tells what it saw.

import { createPrivateKey } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { Output } from '../fixtures/processes.ts'
import { run } from '../fixtures/processes.ts'

export interface Driver {
  readonly name: string
  readonly command: (hostsFile: string) => readonly [file: string, ...args: readonly string[]]
}

/** Where to connect to, by libpq's names; `sslrootcert`, `sslcert` and `sslkey` (files) are absent in clear. */
export type Target = Readonly<Record<string, string>>

function node(name: string): Driver {
  return { name, command: () => [process.execPath, join(import.meta.dirname, `${name}.ts`)] }
}

export const NODE_POSTGRES: Driver = node('node-postgres')
export const PORSAGER: Driver = node('porsager-postgres')

/** Debian's, which takes no address beside the name: Java looks the name up in a file. */
export const PGJDBC: Driver = {
  name: 'pgjdbc',
  command: (hostsFile) => [
    '/usr/bin/java',
    '-Xshare:auto',
    '-Dfile.encoding=UTF-8',
    `-Djdk.net.hosts.file=${hostsFile}`,
    '-cp',
    '/usr/share/java/postgresql.jar',
    join(import.meta.dirname, 'pgjdbc.java'),
  ],
}

export const DRIVERS: readonly Driver[] = [NODE_POSTGRES, PORSAGER, PGJDBC]

/** Runs a driver's program to its end. */
export async function runDriver(
  { name, command }: Driver,
  target: Target,
  folder: string,
): Promise<Output> {
  const { host = '', hostaddr = host, port = '', user = 'app', dbname = 'postgres' } = target
  const hostsFile = join(folder, `hosts-${name}`)
  await writeFile(hostsFile, `127.0.0.1 ${host}\n`)
  const [file, ...args] = command(hostsFile)
  return await run(file, args, {
    timeoutMs: 180_000,
    env: {
      PATH: '/usr/bin:/bin',
      LANG: 'C.UTF-8',
      TZ: 'UTC',
      DRIVER_HOST: name === PGJDBC.name ? host : hostaddr,
      DRIVER_PORT: port,
      DRIVER_USER: user,
      DRIVER_DATABASE: dbname,
      ...(await tls(target, folder)),
    },
  })
}

async function tls(
  { host = '', sslrootcert, sslcert, sslkey }: Target,
  folder: string,
): Promise<NodeJS.ProcessEnv> {
  if (sslrootcert === undefined || sslcert === undefined || sslkey === undefined) return {}
  // Java reads no PEM.
  const der = createPrivateKey(await readFile(sslkey)).export({ type: 'pkcs8', format: 'der' })
  const derFile = join(folder, 'key.der')
  await writeFile(derFile, der, { mode: 0o600 })
  return {
    DRIVER_CA: sslrootcert,
    DRIVER_CERT: sslcert,
    DRIVER_KEY: sslkey,
    DRIVER_KEY_DER: derFile,
    DRIVER_SERVERNAME: host,
  }
}
