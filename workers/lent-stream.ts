// A connection as the ByteStream of a streaming session. A plain one is read into buffers of its thread's pool, of 256 KB where much comes:
// Node's own reads are of 64 KB, and an upload that takes four times as many wakes its program as often.

import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'

import type { ByteStream } from '../core/stream.ts'
import { adoptForRelay, release } from './handover.ts'
import { LentReads } from './lent-reads.ts'
import { socketStream } from './socket-stream.ts'

export interface LentStream<T extends Duplex> {
  readonly stream: ByteStream
  /** The connection from here on: what was given may be empty and silent. */
  readonly connection: T | Socket
}

export function lentStream<T extends Duplex>(connection: T): LentStream<T> {
  const plain = connection instanceof Socket && !(connection instanceof TLSSocket)
  // What it could not send yet would be lost.
  const released = plain && connection.writableLength === 0 ? release(connection) : undefined
  if (released === undefined) return { stream: socketStream(connection), connection }
  const reads = new LentReads()
  const socket = adoptForRelay(released.handle, reads)
  socket.once('close', () => reads.close())
  const stream = socketStream(socket, reads)
  if (released.rest.length > 0) stream.unread(released.rest)
  return { stream, connection: socket }
}
