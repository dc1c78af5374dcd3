// Ids of decisions and sessions: ULIDs (github.com/ulid/spec), 48 bits of time and 80 bits of chance in 26 characters of
// Crockford's base32. Drawn fresh each time, never counted up from the last: an id must not tell of its neighbours.

const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const RANDOM_BYTES = 10
const TIME_MAX = 2 ** 48 - 1

/** `random` holds at least 10 bytes of a cryptographic source; 10 are used. */
export function newDecisionId(nowMs: number, random: Uint8Array): string {
  if (random.length < RANDOM_BYTES) throw new RangeError('A ULID takes 10 random bytes.')
  if (!Number.isSafeInteger(nowMs) || nowMs < 0 || nowMs > TIME_MAX)
    throw new RangeError('A ULID takes milliseconds since the epoch.')
  let value = BigInt(nowMs)
  for (let i = 0; i < RANDOM_BYTES; i++) value = (value << 8n) | BigInt(random[i] ?? 0)
  let out = ''
  for (let shift = 125n; shift >= 0n; shift -= 5n)
    out += ALPHABET[Number((value >> shift) & 31n)] ?? ''
  return out
}

/** Whether a text is a ULID as we write them: before it becomes a file name or a key. */
export function isUlid(text: string): boolean {
  return /^[0-7][0-9A-HJKMNP-TV-Z]{25}$/.test(text)
}
