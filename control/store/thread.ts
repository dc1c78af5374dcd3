// The store thread: drains its mailbox into one transaction, then answers the whole group, so one fsync serves many callers.
// It answers only after the commit. An operation that fails its condition fails alone; a commit that fails, fails its group.

import { parentPort, receiveMessageOnPort, workerData } from 'node:worker_threads'
import { errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { StoreDatabase } from './database.ts'
import type {
  FromStoreThread,
  StoreRequest,
  StoreResult,
  StoreThreadData,
  ToStoreThread,
} from './messages.ts'

const port = parentPort
if (port === null) throw new Error('control/store/thread.ts runs as a worker thread only')

const database = open(workerData as StoreThreadData)
if (database === undefined) port.close()
else port.on('message', (first: ToStoreThread) => serve(database, first))

function open(data: StoreThreadData): StoreDatabase | undefined {
  try {
    const opened = new StoreDatabase(data.file)
    send({ kind: 'ready' })
    return opened
  } catch (error) {
    send({ kind: 'refused', message: messageOf(error) })
    return undefined
  }
}

function serve(store: StoreDatabase, first: ToStoreThread): void {
  const group = drain(first)
  const requests = group.filter((message) => message.request.kind !== 'close')
  if (requests.length > 0) send(runGroup(store, requests))
  if (requests.length < group.length) {
    store.close()
    send({ kind: 'closed' })
    port?.close()
  }
}

/** Everything that waits by now, up to the bound, and nothing behind a `close`. */
function drain(first: ToStoreThread): readonly ToStoreThread[] {
  const group = [first]
  let last = first
  while (group.length < max('storeGroupMax') && last.request.kind !== 'close') {
    const next = port === null ? undefined : receiveMessageOnPort(port)
    if (next === undefined) break
    last = next.message as ToStoreThread
    group.push(last)
  }
  return group
}

function runGroup(store: StoreDatabase, group: readonly ToStoreThread[]): FromStoreThread {
  const nowMs = Math.max(...group.map((message) => message.nowMs))
  try {
    const { result, events } = store.transaction(nowMs, () =>
      group.map(({ id, request }) => ({ id, result: attempt(store, request) })),
    )
    const nextExpiryMs = store.nextExpiryMs()
    const expiry = nextExpiryMs === undefined ? {} : { nextExpiryMs }
    return { kind: 'reply', results: result, events, ...expiry }
  } catch (error) {
    const failed: StoreResult = {
      kind: 'failed',
      code: 'store.unavailable',
      message: `The state store could not commit: ${messageOf(error)}`,
      retry: true,
    }
    return { kind: 'reply', results: group.map(({ id }) => ({ id, result: failed })), events: [] }
  }
}

/** A refusal of ours is the operation's own answer; anything else (a full disk) fails the transaction. */
function attempt(store: StoreDatabase, request: StoreRequest | { kind: 'close' }): StoreResult {
  try {
    return perform(store, request)
  } catch (error) {
    const code = errorCode(error)
    if (code === undefined) throw error
    return { kind: 'failed', code, message: messageOf(error), retry: false }
  }
}

function perform(store: StoreDatabase, request: StoreRequest | { kind: 'close' }): StoreResult {
  switch (request.kind) {
    case 'get': {
      const item = store.get(request.key)
      return item === undefined ? { kind: 'item' } : { kind: 'item', item }
    }
    case 'range':
      return { kind: 'page', page: store.range(request.request) }
    case 'batch':
      return { kind: 'written', revisions: store.batch(request.ops) }
    case 'watch':
      return { kind: 'watching', ...store.since(request.prefix, request.from) }
    case 'sweep':
    case 'close':
      return { kind: 'swept' }
  }
}

function send(message: FromStoreThread): void {
  port?.postMessage(message)
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
