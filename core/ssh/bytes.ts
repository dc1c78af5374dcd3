// The data types of SSH (RFC 4251, section 5) over a view of bytes: string, name-list, mpint, uint32, uint64. A read past the
// end is malformed and throws; nothing is copied, and no length is believed before the bytes are there.

import { ProxyError } from '../errors.ts'

export class SshReader {
  readonly #bytes: Uint8Array
  #at = 0

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes
  }

  /** Index of the next byte. */
  get at(): number {
    return this.#at
  }

  get done(): boolean {
    return this.#at === this.#bytes.length
  }

  u8(): number {
    return this.#bytes[this.#take(1)] ?? 0
  }

  u32(): number {
    const at = this.#take(4)
    return view(this.#bytes).getUint32(at)
  }

  u64(): bigint {
    const at = this.#take(8)
    return view(this.#bytes).getBigUint64(at)
  }

  /** A view of a string's bytes. */
  string(): Uint8Array {
    const length = this.u32()
    const at = this.#take(length)
    return this.#bytes.subarray(at, at + length)
  }

  /** A string that must be UTF-8. */
  text(): string {
    const bytes = this.string()
    try {
      return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
    } catch {
      throw malformed('a text is not UTF-8')
    }
  }

  /** A non-negative mpint without its leading zero. Another spelling of the same number is refused. */
  mpint(): Uint8Array {
    const bytes = this.string()
    const [first = 0, second = 0] = bytes
    if (first >= 0x80) throw malformed('a number is negative')
    if (bytes.length > 0 && first === 0 && second < 0x80)
      throw malformed('a number has a needless zero')
    return first === 0 ? bytes.subarray(1) : bytes
  }

  #take(length: number): number {
    const at = this.#at
    if (length > this.#bytes.length - at) throw malformed('it ends before its last field')
    this.#at = at + length
    return at
  }
}

export function u32(value: number): Uint8Array {
  const bytes = new Uint8Array(4)
  view(bytes).setUint32(0, value)
  return bytes
}

export function u64(value: bigint): Uint8Array {
  const bytes = new Uint8Array(8)
  view(bytes).setBigUint64(0, value)
  return bytes
}

export function string(value: string | Uint8Array): Uint8Array {
  const bytes = typeof value === 'string' ? Buffer.from(value) : value
  return Buffer.concat([u32(bytes.length), bytes])
}

/** A non-negative number, big-endian, of any number of leading zeros. */
export function mpint(value: Uint8Array): Uint8Array {
  const from = value.findIndex((byte) => byte !== 0)
  const bytes = from < 0 ? new Uint8Array(0) : value.subarray(from)
  return string((bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Uint8Array.of(0), bytes]) : bytes)
}

export function malformed(what: string): ProxyError {
  return new ProxyError('cert.malformed', `The SSH key or certificate is malformed: ${what}.`, {
    side: 'client',
  })
}

function view(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
