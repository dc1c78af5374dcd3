// How sessions are named by messages that come on a connection of their own and say nothing else (design section 5, "Cancel"):
// a handle of 32 bits, which leads to a proxy and to a slot of it, and a secret that only the session's end knows. A handle is no
// secret, and several sessions may have the same one; the secret decides.

import { createHash } from 'node:crypto'

import { max } from '../limits.ts'

const HANDLE_BYTES = 4
const SECRET_BYTES_MIN = 4
const SLOT_BITS = 20

/** Slots of one proxy; 0 is none. */
export const SIGNAL_SLOTS: number = 2 ** SLOT_BITS

/**
 * The 12 bits of a proxy. The highest is 0: PostgreSQL shows the handle as a process id, which many drivers hold in a signed word.
 */
function proxyBits(proxyId: string): number {
  return createHash('sha256').update(proxyId).digest().readUInt16BE(0) >>> 5
}

export function signalHandle(proxyId: string, slot: number): number {
  return proxyBits(proxyId) * SIGNAL_SLOTS + slot
}

/** Whether this proxy may have given the handle. Another one may have the same bits. */
export function isHandleOf(handle: number, proxyId: string): boolean {
  return Math.floor(handle / SIGNAL_SLOTS) === proxyBits(proxyId)
}

/** The handle at the head of a signal's key; undefined when it cannot be a key. */
export function handleOf(key: Uint8Array): number | undefined {
  const secretBytes = key.length - HANDLE_BYTES
  if (secretBytes < SECRET_BYTES_MIN || key.length > max('signalKeyBytesMax')) return undefined
  const handle = new DataView(key.buffer, key.byteOffset).getUint32(0)
  return handle === 0 ? undefined : handle
}
