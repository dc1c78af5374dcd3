// The thread of the hand-over's self-test: gets a handle, answers what was read before and what comes next, and sends the handle
// back. Nothing else runs it.

import { parentPort } from 'node:worker_threads'

import type { SocketHandle } from '../core/messages.ts'
import { adopt, release, transferable } from './handover.ts'

const port = parentPort
port?.once('message', (message: { readonly handle: SocketHandle; readonly first: Uint8Array }) => {
  const socket = adopt(message.handle, message.first)
  let heard = ''
  socket.on('data', (chunk: Buffer) => {
    heard += chunk.toString('latin1')
    if (!heard.endsWith(';two;')) return
    // Back without a byte written here: what this thread heard is said by the other one.
    const released = release(socket)
    if (released === undefined) return
    port.postMessage({ handle: released.handle, heard }, [transferable(released.handle)])
  })
})
