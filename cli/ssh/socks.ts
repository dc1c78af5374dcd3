// SOCKS version 5 (RFC 1928) as `tsh ssh -D` offers it to programs of this machine: no authentication, CONNECT alone. Pure: bytes in,
// what they ask for out. "More" is a value; what is not understood is bad, and answered where the standard has an answer.

export interface SocksAddress {
  readonly host: string
  readonly port: number
}

export type SocksReading<T> =
  | { readonly verdict: 'more' }
  | { readonly verdict: 'bad'; readonly answer: Uint8Array }
  | { readonly verdict: 'ok'; readonly value: T; readonly end: number; readonly answer: Uint8Array }

const VERSION = 5
const NO_AUTHENTICATION = 0
const NOTHING_ACCEPTABLE = 0xff
const CONNECT = 1
/** Section 5: how an address is written. */
const ADDRESS = { ipv4: 1, name: 3, ipv6: 4 } as const
/** Section 6: how a request went. */
export const REPLY = { done: 0, unreachable: 4, command: 7, address: 8 } as const

/** Version and methods; the greeting is bad unless it offers to do without authentication. */
export function readGreeting(bytes: Uint8Array): SocksReading<undefined> {
  const [version, count] = bytes
  if (version === undefined) return { verdict: 'more' }
  if (version !== VERSION) return { verdict: 'bad', answer: Uint8Array.of() }
  if (count === undefined || bytes.length < 2 + count) return { verdict: 'more' }
  if (!bytes.subarray(2, 2 + count).includes(NO_AUTHENTICATION))
    return { verdict: 'bad', answer: Uint8Array.of(VERSION, NOTHING_ACCEPTABLE) }
  const answer = Uint8Array.of(VERSION, NO_AUTHENTICATION)
  return { verdict: 'ok', value: undefined, end: 2 + count, answer }
}

/** Version, command, reserved, kind of address, address, port. Answered by `writeReply` when the connection is there. */
export function readRequest(bytes: Uint8Array): SocksReading<SocksAddress> {
  const [version, command, , kind, first] = bytes
  if (version !== undefined && version !== VERSION)
    return { verdict: 'bad', answer: Uint8Array.of() }
  if (command !== undefined && command !== CONNECT)
    return { verdict: 'bad', answer: writeReply('command') }
  if (kind === undefined || first === undefined) return { verdict: 'more' }
  const from = kind === ADDRESS.name ? 5 : 4
  const length = kind === ADDRESS.ipv4 ? 4 : kind === ADDRESS.ipv6 ? 16 : first
  if (kind !== ADDRESS.ipv4 && kind !== ADDRESS.ipv6 && (kind !== ADDRESS.name || length === 0))
    return { verdict: 'bad', answer: writeReply('address') }
  const end = from + length + 2
  if (bytes.length < end) return { verdict: 'more' }
  const host = hostText(kind, bytes.subarray(from, from + length))
  if (host === undefined) return { verdict: 'bad', answer: writeReply('address') }
  const port = ((bytes[end - 2] ?? 0) << 8) | (bytes[end - 1] ?? 0)
  return { verdict: 'ok', value: { host, port }, end, answer: writeReply('done') }
}

/** The bound address is not ours to know: zeros. */
export function writeReply(reply: keyof typeof REPLY): Uint8Array {
  return Uint8Array.of(VERSION, REPLY[reply], 0, ADDRESS.ipv4, 0, 0, 0, 0, 0, 0)
}

function hostText(kind: number, bytes: Uint8Array): string | undefined {
  if (kind === ADDRESS.ipv4) return bytes.join('.')
  if (kind === ADDRESS.ipv6)
    return (Buffer.from(bytes).toString('hex').match(/.{4}/g) ?? []).join(':')
  const text = Buffer.from(bytes).toString('latin1')
  return /^[\x21-\x7e]+$/.test(text) ? text : undefined
}
