// Something that listens for a login, whatever it is: a port, a path, an agent's socket, a display.

import net from 'node:net'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'

/** A place that listens, and what removes it again. */
export interface Opened {
  readonly server: net.Server
  readonly port: number
  readonly path: string
  readonly display: string
  remove(): Promise<void>
}

/** What is accepted waits unread until the agent has it. */
export function newServer(): net.Server {
  const server = net.createServer({ allowHalfOpen: true, pauseOnConnect: true })
  server.maxConnections = max('helperSocketsMax')
  return server
}

export function listenOn(server: net.Server, where: net.ListenOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(
        new ProxyError('dial.failed', `Listening there failed: ${cause.code ?? 'unknown'}.`, {
          cause,
        }),
      ),
    )
    server.listen(where, () => {
      server.on('error', () => {})
      resolve()
    })
  })
}

/** Listens no more; connections that were taken go on. */
export function closeServer(server: net.Server): void {
  server.close()
}
