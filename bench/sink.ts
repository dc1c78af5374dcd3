// A target for benches: one port discards what it gets, one echoes it. Says both ports.

import { once } from 'node:events'
import net from 'node:net'

async function listen(onConnection: (socket: net.Socket) => void): Promise<number> {
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('end', () => socket.end())
    onConnection(socket)
  })
  server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
  await once(server, 'listening')
  const address = server.address()
  return typeof address === 'object' && address !== null ? address.port : 0
}

const discard = await listen((socket) => socket.resume())
const echo = await listen((socket) => socket.on('data', (chunk) => socket.write(chunk)))
// A bench that dies leaves no part of it behind.
process.on('disconnect', () => process.exit())
process.send?.([discard, echo])
