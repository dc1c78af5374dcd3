// The process under test of the accept bench: the real listener and pool. Argument: number of threads; 0 answers in the main
// thread, which shows what the hand-over itself costs. Says its port.

import { systemClock } from '../core/clock.ts'
import { silentLogger } from '../core/log.ts'
import type { SocketHandle } from '../core/messages.ts'
import { protocols } from '../protocols/registry.ts'
import type { Arrival } from '../workers/arrival.ts'
import { descriptorLimit } from '../workers/descriptors.ts'
import { adopt } from '../workers/handover.ts'
import { Ledger } from '../workers/ledger.ts'
import { Listener } from '../workers/listener.ts'
import { Pool } from '../workers/pool.ts'
import { unfinishedBounds } from '../workers/unfinished.ts'

interface Moved {
  readonly handle: SocketHandle
  readonly first: Uint8Array
}

const threads = Number(process.argv[2])
const pool = new Pool<Moved, unknown>({
  entry: new URL('./accept-thread.ts', import.meta.url),
  count: threads,
  data: () => undefined,
  clock: systemClock,
  log: silentLogger,
  onMessage() {},
})
await pool.start()

function serve({ handle, first }: Moved): void {
  const socket = adopt(handle, first)
  socket.on('error', () => {})
  socket.once('data', () => socket.write('!'))
  socket.on('end', () => socket.end())
}

function arrived(arrival: Arrival): void {
  if (arrival.kind !== 'tls') return
  const { handle, first } = arrival
  const thread = pool.least()
  if (thread === undefined) return serve({ handle, first })
  // Never left: the end of a session is not part of this figure, and equal loads take turns all the same.
  thread.enter()
  thread.post({ handle, first }, [handle])
}

const listener = new Listener({
  recognisers: protocols,
  publicAddress: 'bench.example',
  proxyProtocol: { mode: 'off', trusted: [] },
  bounds: unfinishedBounds(descriptorLimit()),
  clock: systemClock,
  ledger: new Ledger(),
  onArrival: arrived,
})
// A bench that dies leaves no part of it behind.
process.on('disconnect', () => process.exit())
process.send?.([await listener.listen({ host: '127.0.0.1', port: 0 })])
