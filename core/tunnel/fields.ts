// Length-prefixed fields of tunnel frames: a writer that grows and a cursor that never leaves its view.
// The encoding is canonical: one value has one form, so a MAC over bytes is a MAC over values.
// Reading answers undefined for anything else; it never throws and never allocates by an announced length.

const utf8 = new TextEncoder()
// `ignoreBOM` keeps a leading BOM as text: without it two byte strings would read as one.
const strict = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

const SAFE_HIGH_MAX = 0x1f_ffff

/** Appends fields; `bytes()` joins them once. */
export class FieldWriter {
  readonly #parts: Uint8Array[] = []

  u8(value: number): this {
    this.#parts.push(Uint8Array.of(value))
    return this
  }

  u16(value: number): this {
    return this.#number(2, (view) => view.setUint16(0, value))
  }

  u32(value: number): this {
    return this.#number(4, (view) => view.setUint32(0, value))
  }

  /** A non-negative safe integer in eight bytes: times in milliseconds. */
  u64(value: number): this {
    return this.#number(8, (view) => view.setBigUint64(0, BigInt(value)))
  }

  raw(bytes: Uint8Array): this {
    this.#parts.push(bytes)
    return this
  }

  text(value: string): this {
    const bytes = utf8.encode(value)
    return this.u16(bytes.length).raw(bytes)
  }

  bytes(): Uint8Array {
    return Buffer.concat(this.#parts)
  }

  #number(size: number, put: (view: DataView) => void): this {
    const bytes = new Uint8Array(size)
    put(new DataView(bytes.buffer))
    return this.raw(bytes)
  }
}

/**
 * Reads fields in order. After the first field that is not there, everything else reads as empty and `ok` is false:
 * a decoder reads all its fields and asks once.
 */
export class FieldReader {
  readonly #view: Uint8Array
  #at = 0
  #ok = true

  constructor(view: Uint8Array) {
    this.#view = view
  }

  /** True when every field was there and nothing is left over. */
  get done(): boolean {
    return this.#ok && this.#at === this.#view.length
  }

  u8(): number {
    return this.raw(1)[0] ?? 0
  }

  u16(): number {
    const bytes = this.raw(2)
    return ((bytes[0] ?? 0) << 8) | (bytes[1] ?? 0)
  }

  u32(): number {
    return this.u16() * 0x1_0000 + this.u16()
  }

  u64(): number {
    const high = this.u32()
    const low = this.u32()
    if (high > SAFE_HIGH_MAX) this.fail()
    return this.#ok ? high * 0x1_0000_0000 + low : 0
  }

  /** The next `length` bytes as a view; empty when they are not there. */
  raw(length: number): Uint8Array {
    if (!this.#ok || length > this.#view.length - this.#at) {
      this.fail()
      return new Uint8Array(0)
    }
    const bytes = this.#view.subarray(this.#at, this.#at + length)
    this.#at += length
    return bytes
  }

  text(): string {
    const bytes = this.raw(this.u16())
    try {
      return strict.decode(bytes)
    } catch {
      this.fail()
      return ''
    }
  }

  /** One of a list by its number from 1; anything else is refused. */
  choice<T>(values: readonly T[]): T | undefined {
    const value = values[this.u8() - 1]
    if (value === undefined) this.fail()
    return value
  }

  fail(): void {
    this.#ok = false
  }
}
