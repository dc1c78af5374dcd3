// Bounded reading of HTTP bodies: whole texts and NDJSON lines. What passes the bound ends the stream; nothing is kept beyond it.

import { ProxyError } from '../../core/errors.ts'

/** The whole body as UTF-8. Throws `limit.exceeded` beyond `bytesMax`. */
export async function readText(stream: AsyncIterable<Buffer>, bytesMax: number): Promise<string> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    size += chunk.length
    if (size > bytesMax) throw tooLong(bytesMax)
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

/** Lines without their newline; a last line without one is dropped: its writer did not finish it. */
export async function* readLines(
  stream: AsyncIterable<Buffer>,
  bytesMax: number,
): AsyncGenerator<string, undefined> {
  let kept: Buffer[] = []
  let size = 0
  for await (const chunk of stream) {
    let from = 0
    for (let at = chunk.indexOf(10); at >= 0; at = chunk.indexOf(10, from)) {
      kept.push(chunk.subarray(from, at))
      yield Buffer.concat(kept).toString('utf8')
      kept = []
      size = 0
      from = at + 1
    }
    const rest = chunk.subarray(from)
    size += rest.length
    if (size > bytesMax) throw tooLong(bytesMax)
    if (rest.length > 0) kept.push(rest)
  }
}

function tooLong(bytesMax: number): ProxyError {
  return new ProxyError('limit.exceeded', `A body or line is longer than ${bytesMax} bytes.`, {
    side: 'client',
  })
}
