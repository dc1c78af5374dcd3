// The bytes of one connection that are kept until they say what it is. Pieces are joined only when there are enough of them to be
// worth a look: a peer that sends single bytes costs no copy each. Its owner bounds its length.

const NOTHING: Uint8Array = new Uint8Array(0)

export class Held {
  #chunks: Uint8Array[] = []
  #length = 0
  #need = 1

  get length(): number {
    return this.#length
  }

  /** As many are there as were awaited. */
  get enough(): boolean {
    return this.#length >= this.#need
  }

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk)
    this.#length += chunk.length
  }

  /** Fewer bytes than `need` are not worth another look. */
  await(need: number): void {
    this.#need = need
  }

  /** All of them in one piece. */
  bytes(): Uint8Array {
    if (this.#chunks.length > 1) this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#chunks[0] ?? NOTHING
  }

  /** Takes the first `count` off. */
  take(count: number): void {
    const rest = this.bytes().subarray(count)
    this.#chunks = rest.length === 0 ? [] : [rest]
    this.#length = rest.length
    this.#need = 1
  }
}
