// Reads the fields of a JSON object by name and type. What is not exactly of the type asked for throws the error the reader
// was made with; nothing is converted, nothing has a default. Used on both ends of the signer's socket.

export type Fields = Readonly<Record<string, unknown>>

export function fieldsOf(value: unknown): Fields | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  return Object.fromEntries(Object.entries(value))
}

export class Reader {
  readonly fields: Fields
  readonly #error: () => Error

  constructor(fields: Fields, error: () => Error) {
    this.fields = fields
    this.#error = error
  }

  has(name: string): boolean {
    return Object.hasOwn(this.fields, name)
  }

  text(name: string): string {
    return this.#text(this.#get(name))
  }

  /** A non-negative integer. */
  count(name: string): number {
    const value = this.#get(name)
    if (typeof value !== 'number' || !Number.isSafeInteger(value) || value < 0) throw this.#error()
    return value
  }

  flag(name: string): boolean {
    const value = this.#get(name)
    if (typeof value !== 'boolean') throw this.#error()
    return value
  }

  bytes(name: string): Uint8Array {
    return this.#bytes(this.#get(name))
  }

  list(name: string): readonly unknown[] {
    const value: unknown = this.#get(name)
    if (!Array.isArray(value)) throw this.#error()
    return value
  }

  texts(name: string): readonly string[] {
    return this.list(name).map((value) => this.#text(value))
  }

  manyBytes(name: string): readonly Uint8Array[] {
    return this.list(name).map((value) => this.#bytes(value))
  }

  inner(name: string): Reader {
    return this.of(this.#get(name))
  }

  /** A reader of another object, with the same error. */
  of(value: unknown): Reader {
    const fields = fieldsOf(value)
    if (fields === undefined) throw this.#error()
    return new Reader(fields, this.#error)
  }

  #get(name: string): unknown {
    return this.has(name) ? this.fields[name] : undefined
  }

  #text(value: unknown): string {
    if (typeof value !== 'string') throw this.#error()
    return value
  }

  /** Base64 that says the same when written again. */
  #bytes(value: unknown): Uint8Array {
    const text = this.#text(value)
    const bytes = Buffer.from(text, 'base64')
    if (bytes.toString('base64') !== text) throw this.#error()
    return bytes
  }
}
