// nginx's stream proxy, the yardstick of the relay: one process with its default settings. It installs nothing.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Part } from './scenario.ts'

/** What to install when `findNginx` finds none. */
export const NGINX_MISSING =
  'nginx with its stream module (Debian: nginx-light, libnginx-mod-stream)'

interface Nginx {
  readonly program: string
  readonly streamModule: string
}

/** The first nginx of PATH and the usual folders that has its stream module beside it. */
export function findNginx(): Nginx | undefined {
  const folders = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/usr/local/sbin']
  for (const folder of folders) {
    const program = join(folder, 'nginx')
    const streamModule = join(folder, '../lib/nginx/modules/ngx_stream_module.so')
    if (existsSync(program) && existsSync(streamModule)) return { program, streamModule }
  }
  return undefined
}

/** A stream proxy to a port of this machine. `said` holds its port. */
export async function startNginx({ program, streamModule }: Nginx, target: number): Promise<Part> {
  const folder = mkdtempSync(join(tmpdir(), 'sluice-bench-'))
  const port = await freePort()
  const settings = `load_module ${streamModule};
    daemon off; master_process off; pid ${folder}/pid; error_log ${folder}/error.log;
    ${process.getuid?.() === 0 ? 'user root;' : ''}
    events { worker_connections 4096; }
    stream { server { listen 127.0.0.1:${port} backlog=4096; proxy_pass 127.0.0.1:${target}; } }`
  writeFileSync(`${folder}/nginx.conf`, settings)
  const args = ['-p', folder, '-c', `${folder}/nginx.conf`, '-e', `${folder}/error.log`]
  const child = spawn(program, args, { stdio: 'inherit' })
  const exited = once(child, 'exit')
  await connectable(port)
  const { pid } = child
  if (pid === undefined) throw new Error('nginx did not start')
  const stop = async (): Promise<void> => {
    child.kill('SIGTERM')
    await exited
    rmSync(folder, { recursive: true, force: true })
  }
  return { pid, said: [port], stop }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  return typeof address === 'object' && address !== null ? address.port : 0
}

/** Resolves when somebody listens. */
async function connectable(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const socket = net.connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    } finally {
      socket.destroy()
    }
  }
  throw new Error(`nobody listens on ${port}`)
}
