// Cuts one direction of SFTP into messages as its bytes pass: uint32 length, byte type, body. Of a body only the head is kept, as much as its
// type is worth; file data and listings are counted over. Bounded, whatever a length says. It changes nothing and forwards nothing.

import { max } from '../../core/limits.ts'

/** A message was seen, as far as its head: a view into `head`, which is the receiver's until it returns. `bytes`: of its whole body. */
export type Message = (type: number, head: Uint8Array, bytes: number) => void

const PREFIX_BYTES = 5

export class SftpFrames {
  readonly #wanted: (type: number) => number
  readonly #message: Message
  /** What of a prefix and a head came so far, when a chunk ended inside of them. */
  readonly #kept = Buffer.alloc(PREFIX_BYTES + max('sftpHeadBytesMax'))
  #have = 0
  /** Bytes of bodies that are not looked at. */
  #skip = 0

  /** `wanted`: head bytes of a type, of which there may be fewer. */
  constructor(wanted: (type: number) => number, message: Message) {
    this.#wanted = wanted
    this.#message = message
  }

  /** Undefined: all was taken. A sentence: bytes that are no SFTP. */
  take(bytes: Uint8Array): string | undefined {
    let at = 0
    while (at < bytes.length) {
      if (this.#skip > 0) {
        const passed = Math.min(this.#skip, bytes.length - at)
        this.#skip -= passed
        at += passed
        continue
      }
      const next = this.#step(bytes, at)
      if (typeof next === 'string') return next
      at = next
    }
    return undefined
  }

  /** Goes on with a prefix or a head. */
  #step(bytes: Uint8Array, at: number): number | string {
    const prefix = this.#fill(bytes, at, PREFIX_BYTES)
    if (this.#have < PREFIX_BYTES) return prefix
    const length = this.#kept.readUInt32BE(0)
    if (length === 0 || length > max('sftpMessageBytesMax'))
      return `a message of ${length} bytes is over sftpMessageBytesMax, or empty`
    const type = this.#kept[PREFIX_BYTES - 1] ?? 0
    const body = length - 1
    const head = Math.min(body, this.#wanted(type), max('sftpHeadBytesMax'))
    const next = this.#fill(bytes, prefix, PREFIX_BYTES + head)
    if (this.#have < PREFIX_BYTES + head) return next
    this.#have = 0
    this.#skip = body - head
    this.#message(type, this.#kept.subarray(PREFIX_BYTES, PREFIX_BYTES + head), body)
    return next
  }

  /** Keeps bytes until there are so many; returns where the chunk goes on. */
  #fill(bytes: Uint8Array, at: number, wanted: number): number {
    const missing = Math.min(Math.max(wanted - this.#have, 0), bytes.length - at)
    this.#kept.set(bytes.subarray(at, at + missing), this.#have)
    this.#have += missing
    return at + missing
  }
}
