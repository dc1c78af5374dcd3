// AES-GCM packets (RFC 5647, with the nonce's counter as OpenSSH's PROTOCOL has it) in the shape ssh2 gives its ciphers, which allocate a
// packet three times on its way: here it is filled in one buffer that serves for all, and what the cipher makes of it is what is sent.
// A nonce is used once: the counter moves with every packet, and keys are changed long before it could come round.

import { createCipheriv, createDecipheriv, createSecretKey, randomFillSync } from 'node:crypto'
import type { CipherGCM, DecipherGCM, KeyObject } from 'node:crypto'

import { violation } from './violation.ts'

type GcmName = 'aes-128-gcm' | 'aes-256-gcm'

/** One direction's key, as ssh2 derives it. */
export interface GcmKey {
  readonly name: GcmName
  readonly key: Buffer
  readonly iv: Buffer
  /** Sequence number of the next packet. */
  readonly sequence: number
}

export function isGcm(name: string): name is GcmName {
  return name === 'aes-128-gcm' || name === 'aes-256-gcm'
}

const LENGTH_BYTES = 4
const TAG_BYTES = 16
const BLOCK_BYTES = 16
const PADDING_BYTES_MIN = 4
/** uint32 packet_length, byte padding_length. */
const HEAD_BYTES = 5
/** The whole packet, RFC 4253 section 6.1: what every implementation must take, and what none here passes. */
const PACKET_BYTES_MAX = 35_000
/** Sent in one piece with its length and its tag: a copy costs less than two pieces more. */
const SMALL_BYTES = 4096
const NOTHING: Buffer = Buffer.alloc(0)

/** Every packet is filled here, and encrypted before anything else happens: one buffer serves all connections of the thread. */
const room: Buffer = Buffer.allocUnsafeSlow(PACKET_BYTES_MAX)
let roomTaken = false

/** What makes packets of payloads. */
export class GcmSealer {
  outSeqno: number
  readonly #name: GcmName
  readonly #key: KeyObject
  readonly #iv: Buffer
  readonly #write: (bytes: Buffer) => void
  #over = false

  constructor({ name, key, iv, sequence }: GcmKey, write: (bytes: Buffer) => void) {
    this.#name = name
    this.#key = createSecretKey(key)
    this.#iv = Buffer.from(iv)
    this.#write = write
    this.outSeqno = sequence
  }

  free(): void {
    this.#over = true
  }

  /** A packet for a payload of this length, which the caller puts behind its head and encrypts in the same turn. */
  allocPacket(payload: number): Buffer {
    const beside = BLOCK_BYTES - ((1 + payload) % BLOCK_BYTES)
    const padding = beside < PADDING_BYTES_MIN ? beside + BLOCK_BYTES : beside
    const packet = takeRoom(HEAD_BYTES + payload + padding)
    packet.writeUInt32BE(packet.length - LENGTH_BYTES, 0)
    packet[LENGTH_BYTES] = padding
    randomFillSync(packet, HEAD_BYTES + payload, padding)
    return packet
  }

  encrypt(packet: Buffer): void {
    try {
      if (!this.#over) this.#seal(packet)
    } finally {
      if (packet.buffer === room.buffer) roomTaken = false
    }
  }

  #seal(packet: Buffer): void {
    const cipher: CipherGCM = createCipheriv(this.#name, this.#key, this.#iv)
    const length = packet.subarray(0, LENGTH_BYTES)
    cipher.setAAD(length)
    const sealed = cipher.update(packet.subarray(LENGTH_BYTES))
    cipher.final()
    const tag = cipher.getAuthTag()
    advance(this.#iv)
    this.outSeqno = (this.outSeqno + 1) >>> 0
    if (sealed.length < SMALL_BYTES) return this.#write(Buffer.concat([length, sealed, tag]))
    // A copy: the room is another packet's before this one has left.
    this.#write(Buffer.from(length))
    this.#write(sealed)
    this.#write(tag)
  }
}

/** A second packet before the first was encrypted has a buffer of its own: one must never overwrite another. */
function takeRoom(bytes: number): Buffer {
  if (roomTaken || bytes > room.length) return Buffer.allocUnsafe(bytes)
  roomTaken = true
  return room.subarray(0, bytes)
}

/** What makes payloads of packets. A packet is opened when all of it is there, and believed when its tag was verified. */
export class GcmOpener {
  inSeqno: number
  /** The result tells where to go on: undefined for on, false for behind this packet with whatever opens the next, a number for there. */
  _onPayload: (payload: Buffer) => unknown
  readonly #name: GcmName
  readonly #key: KeyObject
  readonly #iv: Buffer
  readonly #begun = new Begun()

  constructor({ name, key, iv, sequence }: GcmKey, onPayload: (payload: Buffer) => unknown) {
    this.#name = name
    this.#key = createSecretKey(key)
    this.#iv = Buffer.from(iv)
    this._onPayload = onPayload
    this.inSeqno = sequence
  }

  free(): void {}

  /** Opens what is complete in the chunk, and keeps the rest. Undefined: all of it was taken. */
  decrypt(chunk: Buffer, from: number, end: number): unknown {
    let at = from
    while (at < end) {
      const whole = this.#begun.none ? packetAt(chunk, at, end) : undefined
      at += whole?.length ?? this.#begun.take(chunk, at, end)
      const packet = whole ?? this.#begun.completed()
      if (packet === undefined) continue
      const next = this._onPayload(this.#open(packet))
      if (next !== undefined) return next === false ? at : next
    }
    if (end - from < SMALL_BYTES) this.#begun.rest()
    return undefined
  }

  #open(packet: Buffer): Buffer {
    const end = packet.length - TAG_BYTES
    const options = { authTagLength: TAG_BYTES }
    const decipher: DecipherGCM = createDecipheriv(this.#name, this.#key, this.#iv, options)
    decipher.setAAD(packet.subarray(0, LENGTH_BYTES))
    decipher.setAuthTag(packet.subarray(end))
    const opened = decipher.update(packet.subarray(LENGTH_BYTES, end))
    decipher.final()
    advance(this.#iv)
    this.inSeqno = (this.inSeqno + 1) >>> 0
    const padding = opened[0] ?? 0
    if (padding < PADDING_BYTES_MIN || padding + 1 >= opened.length)
      throw violation('a packet is padded wrongly')
    return opened.subarray(1, opened.length - padding)
  }
}

/** A packet of which the rest is on its way. Its buffer serves the next one too, while large ones come. */
class Begun {
  readonly #length = Buffer.alloc(LENGTH_BYTES)
  #packet = NOTHING
  #room = NOTHING
  #kept = 0

  get none(): boolean {
    return this.#kept === 0
  }

  /** Takes what is of this packet, and says how much it was. */
  take(chunk: Buffer, at: number, end: number): number {
    const before = this.#kept
    if (before < LENGTH_BYTES) {
      this.#kept += chunk.copy(this.#length, before, at, Math.min(end, at + LENGTH_BYTES - before))
      if (this.#kept === LENGTH_BYTES) this.#begin()
    }
    if (this.#kept >= LENGTH_BYTES) {
      const from = at + this.#kept - before
      this.#kept += chunk.copy(this.#packet, this.#kept, from, end)
    }
    return this.#kept - before
  }

  /** A view that is good until the next `take`. */
  completed(): Buffer | undefined {
    if (this.#kept < LENGTH_BYTES || this.#kept < this.#packet.length) return undefined
    this.#kept = 0
    return this.#packet
  }

  /** Little comes: an idle connection holds no buffer. */
  rest(): void {
    if (!this.none) return
    this.#packet = NOTHING
    this.#room = NOTHING
  }

  #begin(): void {
    const bytes = lengthAt(this.#length, 0)
    if (this.#room.length < bytes) this.#room = Buffer.allocUnsafeSlow(bytes)
    this.#packet = this.#room.subarray(0, bytes)
    this.#length.copy(this.#packet)
  }
}

/** The packet that begins here, if the chunk has all of it. */
function packetAt(chunk: Buffer, at: number, end: number): Buffer | undefined {
  if (end - at < LENGTH_BYTES) return undefined
  const bytes = lengthAt(chunk, at)
  return end - at < bytes ? undefined : chunk.subarray(at, at + bytes)
}

/** Of the packet with its length and its tag. Checked before a byte of it is kept. */
function lengthAt(bytes: Buffer, at: number): number {
  const announced = bytes.readUInt32BE(at)
  const whole = LENGTH_BYTES + announced + TAG_BYTES
  if (whole > PACKET_BYTES_MAX || announced < BLOCK_BYTES || announced % BLOCK_BYTES !== 0)
    throw violation('a packet is of no length there is')
  return whole
}

/** The last eight bytes of the nonce are a counter. */
function advance(iv: Buffer): void {
  for (let at = iv.length - 1; at >= iv.length - 8; at--) {
    const next = ((iv[at] ?? 0) + 1) & 0xff
    iv[at] = next
    if (next !== 0) return
  }
}
