// Messages between processes of one machine that trust each other little: a length of four bytes, then JSON. The length is compared
// with a named limit before anything of the message is kept, and a message is taken only in the form its reader states. What follows
// a message on the same stream stays on it: after the last one, the stream may go on as raw bytes.

import type { z } from 'zod'

import { ProxyError } from '../core/errors.ts'
import { type LimitName, max } from '../core/limits.ts'
import type { ByteStream } from '../core/stream.ts'

const LENGTH_BYTES = 4

/** The next message's bytes; undefined at the end of the stream. A stream that ends inside a message throws. */
export async function readFrame(
  stream: ByteStream,
  limit: LimitName,
): Promise<Uint8Array | undefined> {
  const head = await readExactly(stream, LENGTH_BYTES)
  if (head === undefined) return undefined
  const length = Buffer.from(head).readUInt32BE()
  if (length > max(limit))
    throw new ProxyError('limit.exceeded', `A message is longer than ${limit} allows.`)
  const body = length === 0 ? head.subarray(0, 0) : await readExactly(stream, length)
  if (body === undefined) throw cut()
  return body
}

/** The next message in the form of `schema`; undefined at the end of the stream. */
export async function readMessage<T>(
  stream: ByteStream,
  schema: z.ZodType<T>,
  limit: LimitName,
): Promise<T | undefined> {
  const frame = await readFrame(stream, limit)
  if (frame === undefined) return undefined
  const read = schema.safeParse(parse(frame))
  // What is wrong with it stays unsaid: it may hold what nobody should read in a log.
  if (!read.success) throw new ProxyError('protocol.violation', 'A message has another form.')
  return read.data
}

export function writeMessage(stream: ByteStream, message: object): Promise<void> {
  return stream.write(frame(Buffer.from(JSON.stringify(plain(message)))))
}

export function frame(body: Uint8Array): Uint8Array {
  const head = Buffer.alloc(LENGTH_BYTES)
  head.writeUInt32BE(body.length)
  return Buffer.concat([head, body])
}

async function readExactly(stream: ByteStream, count: number): Promise<Uint8Array | undefined> {
  const parts: Uint8Array[] = []
  for (let missing = count; missing > 0; ) {
    const chunk = await stream.read()
    if (chunk === undefined) {
      if (missing === count) return undefined
      throw cut()
    }
    if (chunk.length > missing) stream.unread(chunk.subarray(missing))
    const part = chunk.subarray(0, missing)
    parts.push(part)
    missing -= part.length
  }
  const [only] = parts
  return parts.length === 1 ? only : Buffer.concat(parts)
}

function parse(bytes: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(bytes).toString('utf8'))
  } catch {
    throw new ProxyError('protocol.violation', 'A message is no JSON.')
  }
}

function cut(): ProxyError {
  return new ProxyError('protocol.violation', 'The connection ended inside a message.')
}

/** The message with its bytes as base64: what JSON can hold. */
function plain(value: unknown): unknown {
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64')
  if (Array.isArray(value)) return value.map(plain)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, each]) => [key, plain(each)]))
}
