// SASLprep (RFC 4013) as PostgreSQL prepares passwords: ASCII stays as it is, and a password that must not be prepared is taken
// as it is. Two checks are not made here, as both mean "as it is" too: code points that Unicode 3.2 did not have, and text of two
// directions. They differ only for a password that has such text and something that preparing changes; it does not get in.

/** Code points, from and to. */
type Ranges = readonly (readonly [from: number, to?: number])[]

/** RFC 3454, table C.1.2: becomes a space. */
const SPACES: Ranges = [[0xa0], [0x1680], [0x2000, 0x200b], [0x202f], [0x205f], [0x3000]]

/** Table B.1: becomes nothing. */
const NOTHING: Ranges = [
  [0xad],
  [0x34f],
  [0x1806],
  [0x180b, 0x180d],
  [0x200b, 0x200d],
  [0x2060],
  [0xfe00, 0xfe0f],
  [0xfeff],
]

/** Tables C.1.2 to C.9, without the last two code points of each plane. */
const PROHIBITED: Ranges = [
  ...SPACES,
  [0, 0x1f],
  [0x7f, 0x9f],
  [0x340, 0x341],
  [0x6dd],
  [0x70f],
  [0x180e],
  [0x200c, 0x200f],
  [0x2028, 0x202e],
  [0x2060, 0x2063],
  [0x206a, 0x206f],
  [0x2ff0, 0x2ffb],
  [0xd800, 0xf8ff],
  [0xfdd0, 0xfdef],
  [0xfeff],
  [0xfff9, 0xfffd],
  [0x1d173, 0x1d17a],
  [0xe0001],
  [0xe0020, 0xe007f],
  [0xf0000, 0x10ffff],
]

const ASCII_MAX = 0x7f

export function saslPrep(password: string): string {
  const codes = Array.from(password, (char) => char.codePointAt(0) ?? 0)
  if (codes.every((code) => code <= ASCII_MAX)) return password
  const mapped = codes.map((code) => {
    if (within(SPACES, code)) return ' '
    return within(NOTHING, code) ? '' : String.fromCodePoint(code)
  })
  const prepared = mapped.join('').normalize('NFKC')
  return prepared === '' || Array.from(prepared).some(isProhibited) ? password : prepared
}

function isProhibited(char: string): boolean {
  const code = char.codePointAt(0) ?? 0
  return (code & 0xfffe) === 0xfffe || within(PROHIBITED, code)
}

function within(ranges: Ranges, code: number): boolean {
  return ranges.some(([from, to = from]) => code >= from && code <= to)
}
