// One-time codes by time (RFC 6238 over RFC 4226): SHA-1, six digits, thirty seconds, as authenticator apps expect. One step of
// skew either way; a step that was used is never accepted again. Never stores anything.

import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'

import { max } from '../../core/limits.ts'

const SECRET_BYTES = 20
const DIGITS = 6
const ALPHABET = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

export function newTotpSecret(): Uint8Array {
  return randomBytes(SECRET_BYTES)
}

/** The secret as people type it: base32 in upper case without padding. */
export function totpSecretText(secret: Uint8Array): string {
  let text = ''
  let bits = 0
  let value = 0
  for (const byte of secret) {
    value = ((value << 8) | byte) & 0xfff
    for (bits += 8; bits >= 5; bits -= 5) text += ALPHABET[(value >> (bits - 5)) & 31] ?? ''
  }
  return bits > 0 ? text + (ALPHABET[(value << (5 - bits)) & 31] ?? '') : text
}

/** What authenticator apps read from a QR code or a link. */
export function totpUri(secret: Uint8Array, cluster: string, user: string): string {
  const query = new URLSearchParams({
    secret: totpSecretText(secret),
    issuer: cluster,
    period: '30',
    digits: '6',
  })
  // Apps read "+" literally.
  return `otpauth://totp/${encodeURIComponent(`${cluster}:${user}`)}?${query.toString().replaceAll('+', '%20')}`
}

/**
 * The step that `code` belongs to, or undefined when it is wrong or its step is not after `usedStep`. All three steps are
 * computed and compared whatever the outcome.
 */
export function checkTotp(
  secret: Uint8Array,
  code: string,
  nowMs: number,
  usedStep: number,
): number | undefined {
  const now = Math.floor(nowMs / max('totpStepMs'))
  const given = Buffer.from(code.padEnd(DIGITS).slice(0, DIGITS))
  let found: number | undefined
  for (const step of [now - 1, now, now + 1]) {
    const right = timingSafeEqual(fit(given), fit(Buffer.from(totpCode(secret, step))))
    if (right && code.length === DIGITS && step > usedStep) found = step
  }
  return found
}

/** RFC 4226 section 5.3, with the time step as the counter. */
export function totpCode(secret: Uint8Array, step: number): string {
  const counter = Buffer.alloc(8)
  counter.writeBigUInt64BE(BigInt(step))
  const mac = createHmac('sha1', secret).update(counter).digest()
  const at = (mac[mac.length - 1] ?? 0) & 15
  const number = (mac.readUInt32BE(at) & 0x7fffffff) % 10 ** DIGITS
  return String(number).padStart(DIGITS, '0')
}

/** A code of other than ASCII digits may be longer in bytes than in characters. */
function fit(bytes: Buffer): Buffer {
  const fixed = Buffer.alloc(4 * DIGITS)
  bytes.copy(fixed)
  return fixed
}
