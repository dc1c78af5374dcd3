// What control asks of the place where its state lives: ordered keys, compare-and-swap by revision, TTL, watch with resume.
// Every backend (SQLite today; PostgreSQL and etcd later) passes control/store/contract.suite.ts, which states each clause.
// A store never interprets values, and a failed condition is an error of its own operation alone.

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'

export interface StoreItem {
  readonly key: string
  /** JSON text, kept as it was given. */
  readonly value: string
  /** The revision of the change that wrote it: unique in the cluster, always rising. */
  readonly revision: number
  readonly expiresAtMs?: number
}

export interface RangeRequest {
  /** '' for everything, else one or more whole segments with a trailing slash: `users/`. */
  readonly prefix: string
  /** Continue behind this key: `next` of the page before. */
  readonly after?: string
  readonly limit?: number
}

export interface RangePage {
  /** Ordered by key. May hold fewer than `limit` when values are large. */
  readonly items: readonly StoreItem[]
  /** Present when there is more. */
  readonly next?: string
  /** The store's revision when the page was read: a watch from the first page's misses nothing. */
  readonly revision: number
}

export interface WriteOptions {
  /** The revision the caller has seen; 0: the key must be absent. Without it the write is unconditional. */
  readonly revision?: number
  /** The key is deleted this long after the commit, with a delete event. */
  readonly ttlMs?: number
}

export type StoreOp =
  | ({ readonly op: 'put'; readonly key: string; readonly value: string } & WriteOptions)
  | {
      readonly op: 'create'
      readonly key: string
      readonly value: string
      readonly ttlMs?: number
    }
  | { readonly op: 'delete'; readonly key: string; readonly revision?: number }
  /** Changes nothing; the batch fails unless the key stands at `revision` (0: is absent). */
  | { readonly op: 'check'; readonly key: string; readonly revision: number }

export type StoreEvent =
  | {
      readonly type: 'put'
      readonly key: string
      readonly value: string
      readonly revision: number
      readonly expiresAtMs?: number
    }
  | { readonly type: 'delete'; readonly key: string; readonly revision: number }

export interface WatchRequest {
  readonly prefix: string
  /** Resume token: events after this revision. Without it: changes asked for after the call of `watch`. */
  readonly from?: number
  /** Ends the iteration without an error. */
  readonly signal?: AbortSignal
}

export interface Store {
  get(key: string): Promise<StoreItem | undefined>
  range(request: RangeRequest): Promise<RangePage>
  /** Resolves with the new revision once durable; `resource.conflict` when the expected revision is not the one. */
  put(key: string, value: string, options?: WriteOptions): Promise<number>
  /** `resource.conflict` when the key exists. */
  create(key: string, value: string, options?: { readonly ttlMs?: number }): Promise<number>
  /** False when there was nothing to delete. With `revision`: `resource.conflict` unless the key stands there. */
  delete(key: string, revision?: number): Promise<boolean>
  /** All or nothing. One revision per op, 0 for those that changed nothing. A key may occur once. */
  batch(ops: readonly StoreOp[]): Promise<readonly number[]>
  /**
   * Events in the order of revisions. Live, each change is told; after a resume, changes overwritten since may be left out.
   * Registered at the call, not at the first `next`; one iteration per call. Ends with `store.resync` when the token is too
   * old or from another history, with `limit.exceeded` when the reader fell behind (the last revision seen is its token).
   */
  watch(request: WatchRequest): AsyncIterable<StoreEvent, undefined>
  close(): Promise<void>
}

/** Joins names to a key. Anything but a plain character is escaped, so a name can never reach into another folder. */
export function storeKey(...segments: readonly string[]): string {
  const key = segments.map(escapeSegment).join('/')
  checkKey(key)
  return key
}

/** The prefix of all keys below these names. */
export function storePrefix(...segments: readonly string[]): string {
  return `${storeKey(...segments)}/`
}

/** The names a key was joined from. */
export function keySegments(key: string): readonly string[] {
  return key.split('/').map((segment) => decodeURIComponent(segment))
}

function escapeSegment(segment: string): string {
  if (segment === '') throw invalid('A key has an empty segment.')
  if (!segment.isWellFormed()) throw invalid('A key holds half a character.')
  return encodeURIComponent(segment)
}

const KEY = /^[!-.0-~]+(\/[!-.0-~]+)*$/

/** Throws unless `key` is made of printable ASCII segments, so that every backend orders keys alike. */
export function checkKey(key: string): void {
  if (key.length > max('storeKeyBytesMax')) throw invalid('A key is longer than storeKeyBytesMax.')
  if (!KEY.test(key))
    throw invalid('A key is not made of printable segments with one slash between.')
}

/** Throws unless `prefix` names whole segments: `roles/a` must not find `roles/ab`. */
export function checkPrefix(prefix: string): void {
  if (prefix === '') return
  if (!prefix.endsWith('/')) throw invalid('A prefix ends with a slash.')
  checkKey(prefix.slice(0, -1))
}

/** Throws unless the value can be stored. */
export function checkValue(value: string): void {
  if (Buffer.byteLength(value) > max('storeValueBytesMax')) {
    throw new ProxyError('limit.exceeded', 'The value is larger than storeValueBytesMax.', {
      side: 'client',
    })
  }
  try {
    JSON.parse(value)
  } catch (cause) {
    throw new ProxyError('resource.invalid', 'The value is not JSON.', { cause })
  }
}

function invalid(message: string): ProxyError {
  return new ProxyError('resource.invalid', message)
}
