// The proxy's side of the spare bench: accepts connections and parks each in the real pool once its preface has come. Says its port.

import { once } from 'node:events'
import net from 'node:net'

import { systemClock } from '../core/clock.ts'
import { Ledger } from '../workers/ledger.ts'
import { SparePool } from '../workers/spares.ts'

const PER_AGENT = 50
const pool = new SparePool({ clock: systemClock, ledger: new Ledger() })
let parked = 0

const server = net.createServer((socket) => {
  socket.once('data', () => {
    const agentId = `agent-${Math.floor(parked / PER_AGENT)}`
    pool.park(socket, agentId, `spare-${parked}`)
    parked++
  })
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
await once(server, 'listening')
const address = server.address()
process.send?.([typeof address === 'object' && address !== null ? address.port : 0])
