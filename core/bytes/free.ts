// Memory that is given back at once instead of by the next collection. V8 counts buffers as part of its heap, and one of 16 MB more begins
// a collection of all of it: of a stream that makes a buffer for each packet it passes, collecting is a third of the cost.

/** Of less the collector disposes better. */
const FREED_BYTES_MIN = 16 * 1024
/** Heads and tails of packets around what is a view of them. */
const AROUND_BYTES_MAX = 512

/**
 * Frees the memory of a buffer that these bytes are all of. Its caller vouches that nobody has another view of it: each would be empty.
 * A part of a larger buffer (Node's pool) is left alone.
 */
export function freeBytes(bytes: Uint8Array): void {
  if (bytes.byteLength === bytes.buffer.byteLength) free(bytes.buffer)
}

/** The same for what a packet carried. */
export function freePacketOf(bytes: Uint8Array): void {
  if (bytes.buffer.byteLength - bytes.byteLength <= AROUND_BYTES_MAX) free(bytes.buffer)
}

/** The same for all the memory that a view is a part of, where its caller knows that it is no pool's. */
export function freeAllOf(bytes: Uint8Array): void {
  free(bytes.buffer)
}

function free(buffer: ArrayBufferLike): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength >= FREED_BYTES_MIN) buffer.transfer(0)
}
