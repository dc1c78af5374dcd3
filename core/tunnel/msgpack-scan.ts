// A look over msgpack bytes before a library unpacks them (github.com/msgpack/msgpack/blob/master/spec.md): exactly one value,
// made of nil, booleans, numbers, strings, binary, arrays and maps with short string keys, nowhere deeper or longer
// than its own bytes pay for. Extensions are refused: msgpackr's define records, references and classes.

const DEPTH_MAX = 8
const KEY_BYTES_MAX = 31

/** True when `bytes` is one value that is safe to unpack. Never throws, allocates nothing. */
export function plainMsgpack(bytes: Uint8Array): boolean {
  return skipValue(bytes, 0, 0) === bytes.length
}

// Every skip answers the index behind the value, or -1.
function skipValue(bytes: Uint8Array, at: number, depth: number): number {
  const code = bytes[at]
  if (code === undefined || depth > DEPTH_MAX) return -1
  if (code <= 0x7f || code >= 0xe0) return at + 1
  if (code <= 0x8f) return skipMap(bytes, at + 1, code & 0x0f, depth)
  if (code <= 0x9f) return skipItems(bytes, at + 1, code & 0x0f, depth)
  if (code <= 0xbf) return within(bytes, at + 1 + (code & 0x1f))
  return skipWide(bytes, at, code, depth)
}

function skipWide(bytes: Uint8Array, at: number, code: number, depth: number): number {
  switch (code) {
    case 0xc0: // nil
    case 0xc2: // false
    case 0xc3: // true
      return at + 1
    case 0xc4: // bin 8
    case 0xd9: // str 8
      return skipSized(bytes, at + 1, 1)
    case 0xc5: // bin 16
    case 0xda: // str 16
      return skipSized(bytes, at + 1, 2)
    case 0xc6: // bin 32
    case 0xdb: // str 32
      return skipSized(bytes, at + 1, 4)
    case 0xcc: // uint 8
    case 0xd0: // int 8
      return within(bytes, at + 2)
    case 0xcd: // uint 16
    case 0xd1: // int 16
      return within(bytes, at + 3)
    case 0xca: // float 32
    case 0xce: // uint 32
    case 0xd2: // int 32
      return within(bytes, at + 5)
    case 0xcb: // float 64
    case 0xcf: // uint 64
    case 0xd3: // int 64
      return within(bytes, at + 9)
    case 0xdc: // array 16
      return skipItems(bytes, at + 3, readLength(bytes, at + 1, 2), depth)
    case 0xdd: // array 32
      return skipItems(bytes, at + 5, readLength(bytes, at + 1, 4), depth)
    case 0xde: // map 16
      return skipMap(bytes, at + 3, readLength(bytes, at + 1, 2), depth)
    case 0xdf: // map 32
      return skipMap(bytes, at + 5, readLength(bytes, at + 1, 4), depth)
    default: // extensions and the code that is never used
      return -1
  }
}

function skipItems(bytes: Uint8Array, at: number, count: number, depth: number): number {
  // Each item takes at least one byte, so a count beyond the bytes left is a lie.
  if (count < 0 || count > bytes.length - at) return -1
  let next = at
  for (let item = 0; item < count && next >= 0; item++) next = skipValue(bytes, next, depth + 1)
  return next
}

function skipMap(bytes: Uint8Array, at: number, count: number, depth: number): number {
  if (count < 0 || count * 2 > bytes.length - at) return -1
  let next = at
  for (let item = 0; item < count && next >= 0; item++) {
    next = skipKey(bytes, next)
    if (next >= 0) next = skipValue(bytes, next, depth + 1)
  }
  return next
}

function skipKey(bytes: Uint8Array, at: number): number {
  const code = bytes[at] ?? 0
  if (code < 0xa0 || code > 0xa0 + KEY_BYTES_MAX) return -1
  return within(bytes, at + 1 + (code & 0x1f))
}

function skipSized(bytes: Uint8Array, at: number, width: 1 | 2 | 4): number {
  const length = readLength(bytes, at, width)
  return length < 0 ? -1 : within(bytes, at + width + length)
}

function readLength(bytes: Uint8Array, at: number, width: 1 | 2 | 4): number {
  if (at + width > bytes.length) return -1
  let length = 0
  for (let index = at; index < at + width; index++) length = length * 256 + (bytes[index] ?? 0)
  return length
}

function within(bytes: Uint8Array, end: number): number {
  return end <= bytes.length ? end : -1
}
