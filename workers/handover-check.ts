// The self-test of the hand-over: moves a real connection to a thread and back before any port is opened. A Node that cannot do
// it would lose bytes or connections in silence, so a process that fails here does not start.

import { once } from 'node:events'
import net from 'node:net'
import { Worker } from 'node:worker_threads'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { SocketHandle } from '../core/messages.ts'
import { adopt, release, transferable } from './handover.ts'

interface Heard {
  readonly handle: SocketHandle
  readonly heard: string
}

const EXPECTED = 'one;two;three;'

/** Resolves when a connection survived the way to a thread and back with every byte; else rejects with `runtime.unfit`. */
export async function handoverSelfTest(): Promise<void> {
  const signal = AbortSignal.timeout(max('workerReadyMs'))
  const server = net.createServer({ allowHalfOpen: true })
  // The emitted JavaScript of a release has its thread beside it under the same ending as this file.
  const ending = import.meta.url.endsWith('.ts') ? 'ts' : 'js'
  const thread = new Worker(new URL(`./handover-check-thread.${ending}`, import.meta.url))
  const failed = once(thread, 'error', { signal }).then((args) => {
    throw new Error(String(args[0]))
  })
  try {
    const said = await Promise.race([there(server, thread, signal), failed])
    if (said !== EXPECTED) throw new Error(`heard "${said}"`)
  } catch (cause) {
    const text = `Node ${process.version} cannot move connections between threads`
    const next = 'Run Sluice with the Node version that its package.json brings.'
    throw new ProxyError('runtime.unfit', text, { cause, next, detail: String(cause) })
  } finally {
    failed.catch(() => {})
    server.close()
    await thread.terminate()
  }
}

/** What the client hears after its bytes went through main, thread and main again. */
async function there(server: net.Server, thread: Worker, signal: AbortSignal): Promise<string> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening', { signal })
  const address = server.address()
  if (typeof address !== 'object' || address === null) throw new Error('no port')
  const client = net.connect({ port: address.port, host: '127.0.0.1', noDelay: true })
  client.on('error', () => {})
  try {
    const accepted: unknown = (await once(server, 'connection', { signal }))[0]
    if (!(accepted instanceof net.Socket)) throw new Error('no socket')
    client.write('one;')
    moveTo(thread, accepted)
    client.write('two;')
    const back: unknown = (await once(thread, 'message', { signal }))[0]
    const { handle, heard } = back as Heard
    client.write('three;')
    client.end()
    const socket = adopt(handle)
    socket.write(heard)
    socket.on('error', () => {})
    socket.pipe(socket)
    let said = ''
    client.on('data', (chunk: Buffer) => {
      said += chunk.toString('latin1')
    })
    await once(client, 'end', { signal })
    return said
  } finally {
    client.destroy()
  }
}

function moveTo(thread: Worker, socket: net.Socket): void {
  socket.on('error', () => {})
  socket.once('data', (first: Buffer) => {
    const released = release(socket)
    if (released === undefined) return
    const message = { handle: released.handle, first: Buffer.concat([first, released.rest]) }
    thread.postMessage(message, [transferable(released.handle)])
  })
}
