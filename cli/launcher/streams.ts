// The connections a program gets for its own: a listener for one request alone, at a path nobody can guess in a folder only the agent
// may enter. Not a byte is read of what comes there, so that all of it is the program's.

import { randomBytes } from 'node:crypto'
import { createServer, type Socket } from 'node:net'
import path from 'node:path'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { listenAt } from '../../workers/local-socket.ts'

export interface ExpectedStreams {
  readonly path: string
  /** In the order they came. Rejects when they do not come in time. */
  readonly sockets: Promise<readonly Socket[]>
  /** Listens no more, and closes what nobody took. Idempotent. */
  close(): void
}

const NAME_BYTES = 12

export async function expectStreams(folder: string, count: number): Promise<ExpectedStreams> {
  const file = path.join(folder, randomBytes(NAME_BYTES).toString('hex'))
  const come = Promise.withResolvers<readonly Socket[]>()
  const sockets: Socket[] = []
  // Paused from the first moment on: what the agent writes waits in the kernel for the program.
  const server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, (socket) => {
    socket.on('error', () => socket.destroy())
    sockets.push(socket)
    if (sockets.length < count) return
    server.close()
    come.resolve(sockets)
  })
  server.maxConnections = count
  // Nobody may be waiting any more.
  come.promise.catch(() => {})
  await listenAt(server, file)
  const late = (): void =>
    come.reject(
      new ProxyError('dial.failed', 'The streams of a program were not connected in time.'),
    )
  const timer = setTimeout(late, max('launchRequestMs'))
  return {
    path: file,
    sockets: come.promise.finally(() => clearTimeout(timer)),
    close() {
      clearTimeout(timer)
      server.close()
      for (const socket of sockets) socket.destroy()
      come.reject(
        new ProxyError('dial.failed', 'The streams of a program are not wanted any more.'),
      )
    },
  }
}
