// haproxy, the yardstick of handshakes: one thread, TLS 1.3, a client certificate demanded; it closes when the handshake is done.
// It installs nothing.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { freePort } from '../test/fixtures/net.ts'
import { ALPN, type Paths } from './handshake-files.ts'
import { connectable } from './ready.ts'
import type { Part } from './scenario.ts'

/** What to install when `findHaproxy` finds none. */
export const HAPROXY_MISSING = 'haproxy (Debian: haproxy)'

/** The first haproxy of PATH and the usual folders. */
export function findHaproxy(): string | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']
  return folders.map((folder) => join(folder, 'haproxy')).find((program) => existsSync(program))
}

/** A server that ends TLS and closes. `said` holds its port. */
export async function startHaproxy(program: string, paths: Paths): Promise<Part> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const port = await freePort()
  const tls = `ssl crt ${paths.serverBoth} ca-file ${paths.ca} verify required alpn ${ALPN}`
  const settings = [
    'global',
    '  nbthread 1',
    '  maxconn 4096',
    'defaults',
    '  mode tcp',
    '  timeout client 10s',
    'frontend bench',
    `  bind 127.0.0.1:${port} backlog 4096 ${tls} ssl-min-ver TLSv1.3`,
    '  tcp-request inspect-delay 5s',
    // Rules over content run behind the handshake.
    '  tcp-request content reject',
    '',
  ]
  writeFileSync(`${folder}/haproxy.cfg`, settings.join('\n'))
  const child = spawn(program, ['-db', '-q', '-f', `${folder}/haproxy.cfg`], { stdio: 'inherit' })
  const exited = once(child, 'exit')
  const { pid } = child
  if (pid === undefined) throw new Error('haproxy did not start')
  await connectable(port)
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await exited
    rmSync(folder, { recursive: true, force: true })
  }
  return { pid, said: [port], stop }
}
