// Unix sockets between the processes of one machine: dialling one, and serving one whose folder decides who reaches it. Every
// accepted connection belongs to a handler; when that is done, or fails, the connection is closed.

import { chmod, lstat, unlink } from 'node:fs/promises'
import { connect, createServer, type Server, type Socket } from 'node:net'

import { errorCode, ProxyError } from '../core/errors.ts'
import { type LimitName, max } from '../core/limits.ts'
import type { ByteStream } from '../core/stream.ts'
import { LentReads } from './lent-reads.ts'
import { socketStream } from './socket-stream.ts'

/** A connection to the socket at `path`. Rejects with `dial.failed`. */
export function dialLocal(path: string): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    const reads = new LentReads()
    const socket = connect({ path, allowHalfOpen: true, onread: reads })
    socket.once('close', () => reads.close())
    const failed = (cause: Error): void =>
      reject(new ProxyError('dial.failed', 'A process of this machine does not answer.', { cause }))
    socket.once('error', failed)
    socket.once('connect', () => {
      socket.off('error', failed)
      resolve(socketStream(socket, reads))
    })
  })
}

export interface LocalServerOptions {
  readonly path: string
  readonly connectionsMax: LimitName
  /** Serves one connection until it is over. What it throws is told to `failed` and ends the connection. */
  readonly serve: (stream: ByteStream) => Promise<void>
  readonly failed: (error: unknown) => void
}

export interface LocalServer {
  readonly connections: number
  /** Listens no more and ends every connection. */
  close(): Promise<void>
}

/** Group may write, nobody else; a set-group-ID folder says whose group. */
const SOCKET_MODE = 0o660

export async function serveLocal(options: LocalServerOptions): Promise<LocalServer> {
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    void serveOne(socket, options)
  })
  server.maxConnections = max(options.connectionsMax)
  await dropStale(options.path)
  await listenAt(server, options.path)
  return {
    get connections() {
      return sockets.size
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

/** Listens at a path that only owner and group may connect to. */
export async function listenAt(server: Server, path: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, () => {
      server.off('error', reject)
      resolve()
    })
  })
  await chmod(path, SOCKET_MODE)
}

async function serveOne(socket: Socket, { serve, failed }: LocalServerOptions): Promise<void> {
  const stream = socketStream(socket)
  try {
    await serve(stream)
    await stream.end()
  } catch (error) {
    failed(error)
  } finally {
    socket.destroy()
  }
}

/** A socket that a process left behind when it was killed. Anything else at that place is not ours to remove. */
async function dropStale(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket())
    throw new ProxyError('config.invalid', `${path} is in the way: it is no socket.`)
  await unlink(path)
}

/** The sentence of an error of ours; of another only that there was one. */
export function sentenceOf(error: unknown, otherwise: string): string {
  return errorCode(error) !== undefined && error instanceof Error ? error.message : otherwise
}
