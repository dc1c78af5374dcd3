// The question for TLS that stands ahead of every connection to a server, be it a login or a cancel request, and what its answer
// may be. What comes in clear around the answer is never read as the server's, nor shown to anybody.

import { Writer } from '../../core/bytes/writer.ts'
import { ANSWER, REQUEST, REQUEST_BYTES } from './wire.ts'

/** SSLRequest: Int32 8, Int32 code. */
export function sslRequest(): Uint8Array {
  return new Writer(REQUEST_BYTES).u32(REQUEST_BYTES).u32(REQUEST.ssl).done()
}

/** Why the answer at chunk[at], which has come, does not lead to TLS; undefined when it is 'S' and nothing else. */
export function answerProblem(chunk: Uint8Array, at: number): string | undefined {
  const answer = chunk[at]
  if (answer !== ANSWER.yes) {
    // Text that comes in clear is not shown: anybody on the way could have written it (CVE-2024-10977).
    const said = answer === ANSWER.no ? 'does not offer TLS' : 'gave no answer to the TLS request'
    return `the database ${said}, and this service demands it`
  }
  // Bytes behind the answer were sent in clear by somebody who hopes that they are read as the server's (CVE-2021-23222).
  return chunk.length > at + 1
    ? 'bytes came in clear behind the answer to the TLS request'
    : undefined
}
