// SCRAM-SHA-256 as a client proves a password with it (RFC 5802, RFC 7677), with and without channel binding. Pure: texts go in
// and come out, randomness is given. What a server says is bounded and believed only after its own proof; the password stands
// in no message and in no error.

import { createHash, createHmac, pbkdf2Sync, timingSafeEqual } from 'node:crypto'

import { max } from './limits.ts'
import { saslPrep } from './saslprep.ts'

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
