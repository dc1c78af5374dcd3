// SCRAM-SHA-256 as a client proves a password with it (RFC 5802, RFC 7677), with and without channel binding. Pure: texts go in
// and come out, randomness is given. What a server says is bounded and believed only after its own proof; the password stands
// in no message and in no error.

import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from 'node:crypto'

import { max } from './limits.ts'

/**
 * `none`: the channel has nothing to bind to ('n'). `unoffered`: it has, and the server did not offer it ('y'), so that a server
 * which did offer it finds out that somebody took the offer away. Else the hash of its certificate (RFC 5929).
 */
export type ChannelBinding = 'none' | 'unoffered' | { readonly endPoint: Uint8Array }

export type ScramAnswer = { readonly message: string } | { readonly problem: string }

/** Bytes of a nonce; base64 makes 24 characters of them, as clients of PostgreSQL send. */
export const SCRAM_NONCE_BYTES = 18

const NOT_SCRAM = 'the server does not follow SCRAM'

/** One exchange: `first`, `answer`, `verify`, in this order. */
export class ScramClient {
  readonly #password: string
  readonly #nonce: string
  readonly #header: string
  readonly #endPoint: Uint8Array
  /** What the server must prove to have known; set by `answer`. */
  #expected: Uint8Array | undefined

  constructor(password: string, nonce: Uint8Array, binding: ChannelBinding) {
    this.#password = password
    this.#nonce = Buffer.from(nonce.subarray(0, SCRAM_NONCE_BYTES)).toString('base64')
    this.#header = headerOf(binding)
    this.#endPoint = typeof binding === 'string' ? new Uint8Array(0) : binding.endPoint
  }

  /** client-first-message. The user is named elsewhere in PostgreSQL, and empty here. */
  get first(): string {
    return `${this.#header}${this.#firstBare}`
  }

  get #firstBare(): string {
    return `n=,r=${this.#nonce}`
  }

  /** server-first-message to client-final-message. */
  answer(serverFirst: string): ScramAnswer {
    const read = readServerFirst(serverFirst)
    if ('problem' in read) return read
    const { nonce, salt, iterations } = read
    if (!nonce.startsWith(this.#nonce) || nonce.length === this.#nonce.length)
      return { problem: 'the server’s nonce does not go on from ours' }
    const bound = Buffer.concat([Buffer.from(this.#header), this.#endPoint]).toString('base64')
    const withoutProof = `c=${bound},r=${nonce}`
    const signed = `${this.#firstBare},${serverFirst},${withoutProof}`
    const salted = saltedPassword(this.#password, salt, iterations)
    const clientKey = hmac(salted, 'Client Key')
    const storedKey = createHash('sha256').update(clientKey).digest()
    const proof = xor(clientKey, hmac(storedKey, signed))
    this.#expected = hmac(hmac(salted, 'Server Key'), signed)
    return { message: `${withoutProof},p=${Buffer.from(proof).toString('base64')}` }
  }

  /** server-final-message. Undefined: the server knows the password too. Else why it is not let go on. */
  verify(serverFinal: string): string | undefined {
    const expected = this.#expected
    const [, value] = /^v=([A-Za-z0-9+/=]{1,88})$/.exec(serverFinal) ?? []
    const signature = value === undefined ? undefined : base64(value)
    if (expected === undefined || signature === undefined) return NOT_SCRAM
    const good = signature.length === expected.length && timingSafeEqual(signature, expected)
    return good ? undefined : 'the server did not prove that it knows the password'
  }
}

/** gs2-header. */
function headerOf(binding: ChannelBinding): string {
  if (binding === 'none') return 'n,,'
  return binding === 'unoffered' ? 'y,,' : 'p=tls-server-end-point,,'
}

interface ServerFirst {
  readonly nonce: string
  readonly salt: Uint8Array
  readonly iterations: number
}

/** r=nonce,s=salt,i=count and nothing else: an extension we do not know may be one we must not ignore. */
function readServerFirst(text: string): ServerFirst | { readonly problem: string } {
  if (text.length > max('scramTextMax')) return { problem: NOT_SCRAM }
  const form = /^r=([\x21-\x2b\x2d-\x7e]+),s=([A-Za-z0-9+/=]+),i=([1-9][0-9]{0,9})$/
  const [, nonce = '', salted = '', count = ''] = form.exec(text) ?? []
  const salt = base64(salted)
  const iterations = Number(count)
  if (nonce === '' || salt === undefined || salt.length === 0) return { problem: NOT_SCRAM }
  if (iterations < max('scramIterationsMin'))
    return { problem: `the server wants fewer than ${max('scramIterationsMin')} iterations` }
  if (iterations > max('scramIterationsMax'))
    return { problem: `the server wants more than ${max('scramIterationsMax')} iterations` }
  return { nonce, salt, iterations }
}

/** Canonical base64 only: two texts for the same bytes would be one too many. */
function base64(text: string): Uint8Array | undefined {
  const bytes = Buffer.from(text, 'base64')
  return bytes.toString('base64') === text ? bytes : undefined
}

/**
 * Computed anew for each login: a copy that is kept is as good as the password, and the least count costs a millisecond.
 */
function saltedPassword(password: string, salt: Uint8Array, iterations: number): Uint8Array {
  return pbkdf2Sync(Buffer.from(saslPrep(password)), salt, iterations, 32, 'sha256')
}

function hmac(key: Uint8Array, text: string): Uint8Array {
  return createHmac('sha256', key).update(text).digest()
}

function xor(a: Uint8Array, b: Uint8Array): Uint8Array {
  return a.map((byte, i) => byte ^ (b[i] ?? 0))
}

// RFC 3454: table C.1.2 becomes a space, table B.1 nothing.
const SPACES = /[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/gu
const NOTHING = /[\u00ad\u034f\u1806\u180b-\u180d\u200c\u200d\u2060\ufe00-\ufe0f\ufeff]/gu
// Tables C.2.1 to C.9, behind the mapping and NFKC.
const PROHIBITED = new RegExp(
  '[\\0-\\x1f\\x7f-\\x9f\\u06dd\\u070f\\u180e\\u200c\\u200d\\u2028\\u2029\\u2060-\\u2063\\u206a-\\u206f\\ufeff' +
    '\\ufff9-\\uffff\\u{1d173}-\\u{1d17a}\\ue000-\\uf8ff\\u{f0000}-\\u{10ffff}\\ufdd0-\\ufdef' +
    '\\ud800-\\udfff\\u2ff0-\\u2ffb\\u0340\\u0341\\u200e\\u200f\\u202a-\\u202e\\u{e0001}\\u{e0020}-\\u{e007f}]|' +
    '[\\u{1fffe}\\u{1ffff}\\u{2fffe}\\u{2ffff}\\u{3fffe}\\u{3ffff}\\u{4fffe}\\u{4ffff}\\u{5fffe}\\u{5ffff}' +
    '\\u{6fffe}\\u{6ffff}\\u{7fffe}\\u{7ffff}\\u{8fffe}\\u{8ffff}\\u{9fffe}\\u{9ffff}\\u{afffe}\\u{affff}' +
    '\\u{bfffe}\\u{bffff}\\u{cfffe}\\u{cffff}\\u{dfffe}\\u{dffff}\\u{efffe}\\u{effff}]|' +
    '[\\u00a0\\u1680\\u2000-\\u200b\\u202f\\u205f\\u3000]',
  'u',
)

/**
 * RFC 4013 as PostgreSQL applies it: ASCII stays as it is, and a password that must not be prepared is taken as it is. Two checks
 * are not made here, as both mean "as it is" too: code points that Unicode 3.2 did not have, and text of two directions.
 * They differ only for a password that has such text and something that preparing changes; it does not get in.
 */
export function saslPrep(password: string): string {
  // oxlint-disable-next-line no-control-regex -- ASCII has control characters.
  if (/^[\0-\x7f]*$/.test(password)) return password
  const prepared = password.replace(SPACES, ' ').replace(NOTHING, '').normalize('NFKC')
  return prepared === '' || PROHIBITED.test(prepared) ? password : prepared
}
