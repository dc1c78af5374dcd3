// The process under test of the relay bench: accepts, dials the target, relays in one thread. Arguments: port of the target, and
// `stop` or `no-stop` for the end of a socket's turn. Says its port.

import { once } from 'node:events'
import net from 'node:net'

import { release } from '../workers/handover.ts'
import { relay } from '../workers/relay.ts'

const [port = '', turn = 'stop'] = process.argv.slice(2)
const options = turn === 'stop' ? {} : { turnBytes: Number.POSITIVE_INFINITY }

async function join(client: net.Socket): Promise<void> {
  client.on('error', () => {})
  const target = net.connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
  target.on('error', () => client.destroy())
  await once(target, 'connect')
  const [from, to] = [release(client), release(target)]
  if (from === undefined || to === undefined) return
  relay(from.handle, to.handle, { ...options, toTarget: from.rest, toClient: to.rest })
}

const server = net.createServer(
  { allowHalfOpen: true, pauseOnConnect: true, noDelay: true },
  (client) => {
    join(client).catch(() => client.destroy())
  },
)
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
await once(server, 'listening')
const address = server.address()
// A bench that dies leaves no part of it behind.
process.on('disconnect', () => process.exit())
process.send?.([typeof address === 'object' && address !== null ? address.port : 0])
