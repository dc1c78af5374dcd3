// The worker thread of the accept bench: gets connections, says one byte, closes when the peer does.

import type { SocketHandle } from '../core/messages.ts'
import { adopt } from '../workers/handover.ts'
import { threadPort } from '../workers/thread-port.ts'

interface Moved {
  readonly handle: SocketHandle
  readonly first: Uint8Array
}

const ANSWER = Buffer.from('!')

const port = threadPort<Moved, never>()
port.onMessage(({ handle, first }) => {
  const socket = adopt(handle, first)
  socket.on('error', () => {})
  socket.once('data', () => socket.write(ANSWER))
  socket.on('end', () => socket.end())
})
port.ready()
