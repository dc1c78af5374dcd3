// Two streams joined: what one says the other hears, with backpressure and half-close. No byte is looked at. Over when both
// directions are; a failure of one ends both.

import type { ByteStream } from '../core/stream.ts'

/** Never rejects: how a stream ends is told to its own holder. */
export async function splice(one: ByteStream, other: ByteStream): Promise<void> {
  const fail = (error: unknown): void => {
    const cause = error instanceof Error ? error : new Error('a stream failed')
    one.abort(cause)
    other.abort(cause)
  }
  await Promise.all([copy(one, other).catch(fail), copy(other, one).catch(fail)])
}

/** Until the end of `from`, which is passed on. */
async function copy(from: ByteStream, to: ByteStream): Promise<void> {
  for (let chunk = await from.read(); chunk !== undefined; chunk = await from.read())
    await to.write(chunk)
  await to.end()
}
