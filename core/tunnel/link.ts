// Frames of a link, the control connection between an agent and a proxy (design section 6): four bytes of length, then one
// msgpack map. A length is checked before anything is kept, a scan bounds the structure before it is unpacked, and the
// shape is checked after (link-frame.ts): a frame of unknown type or with an unknown field ends the link.
// Signed values of control pass through in parts; nothing here believes them.

import { createHmac } from 'node:crypto'
import { Packr } from 'msgpackr'
import { ProxyError } from '../errors.ts'
import { max } from '../limits.ts'
import { plainMsgpack } from './msgpack-scan.ts'
import { linkFrameOf } from './link-frame.ts'
import type { LinkFrame, Signed, SignedKind, SignedPart } from './link-frame.ts'

/** The TLS exporter label both ends derive the link key from. */
export const LINK_EXPORTER_LABEL = 'EXPORTER-sluice-spare'
export const LINK_EXPORTER_BYTES = 32
export const LINK_ALPN = 'sluice-link'
export const LINK_VERSION = 1

export type { LinkFrame, Signed, SignedKind, SignedPart, SpareOrder } from './link-frame.ts'

const HEAD_BYTES = 4
// Records would make the peer define structures that later frames refer to: state a stranger could grow.
const packer = new Packr({ useRecords: false, moreTypes: false, mapsAsObjects: true })

/** `K`: proves that open and answer frames come from the two ends of this TLS connection. */
export function deriveLinkKey(exported: Uint8Array): Uint8Array {
  if (exported.length !== LINK_EXPORTER_BYTES)
    throw new RangeError('the link key needs 32 exported bytes')
  return createHmac('sha256', exported).update('sluice link key v1').digest()
}

export function writeLinkFrame(frame: LinkFrame): Uint8Array {
  const body = packer.pack(frame)
  if (body.length > max('linkFrameBytesMax'))
    throw new ProxyError('limit.exceeded', `A ${frame.type} frame exceeds linkFrameBytesMax.`)
  const bytes = Buffer.allocUnsafe(HEAD_BYTES + body.length)
  bytes.writeUInt32BE(body.length, 0)
  bytes.set(body, HEAD_BYTES)
  return bytes
}

/** Cuts a signed value into frames that fit. */
export function splitSigned(signed: Signed): SignedPart[] {
  const size = max('linkSignedPartBytes')
  const parts = Math.max(1, Math.ceil(signed.body.length / size))
  const { kind, signature } = signed
  return Array.from({ length: parts }, (_, part) => ({
    type: 'signed',
    kind,
    part,
    parts,
    body: signed.body.subarray(part * size, (part + 1) * size),
    signature,
  }))
}

/** Bytes of a link to frames. Holds at most one unfinished frame. */
export class LinkReader {
  #held: Uint8Array[] = []
  #heldBytes = 0
  #needBytes = HEAD_BYTES

  /** Bytes of the unfinished frame. */
  get heldBytes(): number {
    return this.#heldBytes
  }

  /** The frames that `chunk` completes. Throws a ProxyError on the first that is none of ours: the link must end. */
  *push(chunk: Uint8Array): Generator<LinkFrame> {
    this.#held.push(chunk)
    this.#heldBytes += chunk.length
    // Joined only when a whole frame is there: a frame in a thousand pieces costs one copy.
    while (this.#heldBytes >= this.#needBytes) {
      const bytes = this.#joined()
      const length = bytes.readUInt32BE(0)
      if (length > max('linkFrameBytesMax')) throw malformed('a frame exceeds linkFrameBytesMax')
      this.#needBytes = HEAD_BYTES + length
      if (bytes.length < this.#needBytes) return
      const rest = bytes.subarray(this.#needBytes)
      this.#held = rest.length === 0 ? [] : [rest]
      this.#heldBytes = rest.length
      const body = bytes.subarray(HEAD_BYTES, this.#needBytes)
      this.#needBytes = HEAD_BYTES
      yield parseFrame(body)
    }
  }

  #joined(): Buffer {
    const bytes = Buffer.concat(this.#held)
    this.#held = [bytes]
    return bytes
  }
}

/**
 * Puts the parts of signed values together again, one value of each kind at a time, bounded. A part out of turn drops what was
 * collected: the sender starts a newer value whenever it likes.
 */
export class SignedCollector {
  readonly #open = new Map<SignedKind, { parts: SignedPart[]; bytes: number }>()

  /** The whole value with its last part. Throws a ProxyError past `snapshotBytesMax`. */
  add(part: SignedPart): Signed | undefined {
    const before = part.part === 0 ? undefined : this.#open.get(part.kind)
    this.#open.delete(part.kind)
    if (part.part !== (before?.parts.length ?? 0)) return undefined
    if (before !== undefined && !sameValue(before.parts[0], part)) return undefined
    const bytes = (before?.bytes ?? 0) + part.body.length
    if (bytes > max('snapshotBytesMax')) throw malformed('a signed value exceeds snapshotBytesMax')
    const parts = [...(before?.parts ?? []), part]
    if (parts.length < part.parts) {
      this.#open.set(part.kind, { parts, bytes })
      return undefined
    }
    const { kind, signature } = part
    return { kind, body: Buffer.concat(parts.map((each) => each.body)), signature }
  }
}

function sameValue(first: SignedPart | undefined, part: SignedPart): boolean {
  return first?.parts === part.parts && Buffer.compare(first.signature, part.signature) === 0
}

function parseFrame(body: Uint8Array): LinkFrame {
  if (!plainMsgpack(body)) throw malformed('a frame is not plain msgpack')
  const frame = linkFrameOf(packer.unpack(body))
  if (frame === undefined) throw malformed('a frame has an unknown type or shape')
  return frame
}

function malformed(detail: string): ProxyError {
  return new ProxyError(
    'frame.malformed',
    'The other end of the link does not speak our protocol.',
    {
      detail,
    },
  )
}
