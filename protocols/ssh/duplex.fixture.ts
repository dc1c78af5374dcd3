// The pipes of a child process as one ByteStream: read from one, write to the other.

import type { Duplex, Readable, Writable } from 'node:stream'

import type { ByteStream } from '../../core/stream.ts'
import { socketStream } from '../../workers/socket-stream.ts'

export function duplexStream(readable: Readable, writable: Writable | undefined): ByteStream {
  // Pipes of children are sockets, open in one direction.
  const [from, to] = [
    socketStream(readable as Duplex),
    writable && socketStream(writable as Duplex),
  ]
  return {
    read: () => from.read(),
    unread: (bytes) => from.unread(bytes),
    write: (bytes) => to?.write(bytes) ?? Promise.reject(new Error('it has no input')),
    end: () => to?.end() ?? Promise.resolve(),
    abort: (cause) => {
      from.abort(cause)
      to?.abort(cause)
    },
    closed: from.closed,
  }
}
