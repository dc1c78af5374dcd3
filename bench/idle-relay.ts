// The process under test of the idle bench's relay: pairs of sockets in the real relay, and what of them lives after a collection.
// Needs --expose-gc. Arguments: port of an echo, how many pairs to warm up with, how many more. Says the live bytes of one pair.

import { once } from 'node:events'
import net from 'node:net'

import { portOf } from '../test/fixtures/net.ts'
import { release } from '../workers/handover.ts'
import { type Relay, relay } from '../workers/relay.ts'
import { startPart } from './scenario.ts'

const [target = '', warm = '', count = ''] = process.argv.slice(2)
const relays: Relay[] = []

async function join(client: net.Socket): Promise<void> {
  const socket = net.connect({ port: Number(target), host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  const [from, to] = [release(client), release(socket)]
  if (from === undefined || to === undefined) throw new Error('a pair is gone')
  relays.push(relay(from.handle, to.handle, { toTarget: from.rest, toClient: to.rest }))
}

function liveBytes(): number {
  const { gc } = globalThis
  if (gc === undefined) throw new Error('start it with --expose-gc')
  // Twice: what the first one finalises is freed by the second.
  for (let i = 0; i < 2; i++) gc()
  const { heapUsed, external } = process.memoryUsage()
  return heapUsed + external
}

const options = { allowHalfOpen: true, pauseOnConnect: true, noDelay: true }
const server = net.createServer(options, (client) => {
  join(client).catch(() => client.destroy())
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
await once(server, 'listening')
const first = await startPart('./idle-clients.ts', [portOf(server), warm])
const before = liveBytes()
const second = await startPart('./idle-clients.ts', [portOf(server), count])
const bytes = (liveBytes() - before) / Number(count)
await first.stop()
await second.stop()
process.send?.([bytes])
