// The thread's end of a worker pool: messages of the application's own union on one channel, the pool's (ready, stop, event-loop
// delay) on another, so that neither has to know the other's. Used once, by a thread's entry file.

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { parentPort, workerData } from 'node:worker_threads'
import type { MessagePort, Transferable } from 'node:worker_threads'

import { max } from '../core/limits.ts'

/** What the pool gives each thread at its start. */
export interface ThreadStart {
  readonly pool: MessagePort
  readonly slot: number
  readonly data: unknown
}

/** Thread → pool. */
export type PoolReport =
  | { readonly kind: 'ready' }
  | { readonly kind: 'delay'; readonly ms: number }
  | { readonly kind: 'stopped' }

/** Pool → thread. */
export type PoolOrder = { readonly kind: 'stop' }

export interface ThreadPort<In, Out> {
  /** Number of this thread's place in the pool; its successor after a crash has the same. */
  readonly slot: number
  /** What the pool's owner passed in; the owner and the entry file agree on its type. */
  readonly data: unknown
  send(message: Out, transfer?: readonly Transferable[]): void
  /** Messages wait until this is called. */
  onMessage(handler: (message: In) => void): void
  /** Awaited when the pool stops, within its deadline; the thread ends afterwards. */
  onStop(handler: () => void | Promise<void>): void
  /** Tells the pool that connections may come. */
  ready(): void
}

const NANOSECONDS_PER_MS = 1e6
const DELAY_RESOLUTION_MS = 20

export function threadPort<In, Out>(): ThreadPort<In, Out> {
  const port = parentPort
  if (port === null) throw new Error('a thread’s entry file runs in a worker thread only')
  const start = workerData as ThreadStart
  let stopping: () => void | Promise<void> = () => {}
  const report = (message: PoolReport): void => start.pool.postMessage(message)
  start.pool.on('message', (order: PoolOrder) => {
    if (order.kind === 'stop') void finish(port, stopping, report)
  })
  // The pool's channel alone does not keep the thread alive; the application's does.
  start.pool.unref()
  return {
    slot: start.slot,
    data: start.data,
    send: (message, transfer = []) => port.postMessage(message, [...transfer]),
    onMessage: (handler) => port.on('message', handler),
    onStop: (handler) => {
      stopping = handler
    },
    ready: () => {
      reportDelay(report)
      report({ kind: 'ready' })
    },
  }
}

async function finish(
  port: MessagePort,
  stopping: () => void | Promise<void>,
  report: (message: PoolReport) => void,
): Promise<void> {
  await stopping()
  report({ kind: 'stopped' })
  port.close()
}

/** The 99th percentile of the last second, less the sampling interval it contains: how long a new connection would wait. */
function reportDelay(report: (message: PoolReport) => void): void {
  const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
  delay.enable()
  const look = (): void => {
    report({
      kind: 'delay',
      ms: Math.max(0, delay.percentile(99) / NANOSECONDS_PER_MS - DELAY_RESOLUTION_MS),
    })
    delay.reset()
  }
  setInterval(look, max('loopDelayReportMs')).unref()
}
