// Passwords: argon2id by node:crypto, as PHC strings. Hashing is the most expensive thing a stranger can ask for, so only as many
// jobs as cores run at once and few wait. An unknown user costs the same as a wrong password. Never logs or returns a password.

import { argon2, randomBytes, timingSafeEqual } from 'node:crypto'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'

/** Cost of one hash. `memoryKb` × jobs at once is what control spends at most. */
export interface PasswordCost {
  readonly memoryKb: number
  readonly passes: number
}

/** Above the second choice of RFC 9106 (64 MB, 3 passes) would need more memory than small machines have. */
export const PASSWORD_COST: PasswordCost = { memoryKb: 64 * 1024, passes: 3 }

const SALT_BYTES = 16
const HASH_BYTES = 32

export interface PasswordOptions {
  /** Hashes computed at once: the number of cores. */
  readonly jobsMax: number
  readonly cost?: PasswordCost
}

/** Why a new password is refused, or undefined. */
export function passwordProblem(password: string): string | undefined {
  const length = Array.from(password).length
  if (length < max('passwordLengthMin'))
    return `it is shorter than ${max('passwordLengthMin')} characters`
  if (length > max('passwordLengthMax'))
    return `it is longer than ${max('passwordLengthMax')} characters`
  return undefined
}

export class Passwords {
  readonly #jobsMax: number
  readonly #cost: PasswordCost
  readonly #decoy: Promise<string>
  readonly #waiting: (() => void)[] = []
  #running = 0

  constructor(options: PasswordOptions) {
    this.#jobsMax = options.jobsMax
    this.#cost = options.cost ?? PASSWORD_COST
    this.#decoy = this.hash(randomBytes(SALT_BYTES).toString('hex'))
    // The first user of it hears of a failure.
    this.#decoy.catch(() => {})
  }

  async hash(password: string): Promise<string> {
    const salt = randomBytes(SALT_BYTES)
    const { memoryKb, passes } = this.#cost
    const tag = await this.#derive(password, salt, this.#cost)
    return `$argon2id$v=19$m=${memoryKb},t=${passes},p=1$${plain(salt)}$${plain(tag)}`
  }

  /** True when `password` is the one behind `stored`. Without `stored` the same work is done and the answer is false. */
  async matches(password: string, stored: string | undefined): Promise<boolean> {
    const parsed = parse(stored ?? (await this.#decoy))
    // Longer than any stored password: hashed all the same, cut to the bound, and wrong.
    const bounded = password.slice(0, max('passwordLengthMax') * 2)
    const tag = await this.#derive(bounded, parsed.salt, parsed.cost)
    return timingSafeEqual(tag, parsed.tag) && stored !== undefined && bounded === password
  }

  async #derive(password: string, salt: Uint8Array, cost: PasswordCost): Promise<Buffer> {
    await this.#enter()
    try {
      return await derive(password, salt, cost)
    } finally {
      this.#running--
      this.#waiting.shift()?.()
    }
  }

  async #enter(): Promise<void> {
    while (this.#running >= this.#jobsMax) {
      if (this.#waiting.length >= max('passwordJobsWaitingMax'))
        throw new ProxyError('limit.exceeded', 'Too many logins at once; try again in a moment.', {
          retry: true,
        })
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    this.#running++
  }
}

function derive(password: string, salt: Uint8Array, cost: PasswordCost): Promise<Buffer> {
  const parameters = {
    // NFC: the same password typed on another keyboard.
    message: Buffer.from(password.normalize('NFC')),
    nonce: salt,
    parallelism: 1,
    tagLength: HASH_BYTES,
    memory: cost.memoryKb,
    passes: cost.passes,
  }
  return new Promise((resolve, reject) => {
    argon2('argon2id', parameters, (error, tag) => {
      if (error === null) resolve(tag)
      else reject(error)
    })
  })
}

const PHC =
  /^\$argon2id\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=1\$([A-Za-z0-9+/]{22})\$([A-Za-z0-9+/]{43})$/

function parse(stored: string): { cost: PasswordCost; salt: Uint8Array; tag: Uint8Array } {
  const [, memory, passes, salt, tag] = PHC.exec(stored) ?? []
  if (salt === undefined || tag === undefined)
    throw new ProxyError('store.unavailable', 'A stored password hash is damaged.')
  return {
    cost: { memoryKb: Number(memory), passes: Number(passes) },
    salt: Buffer.from(salt, 'base64'),
    tag: Buffer.from(tag, 'base64'),
  }
}

function plain(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replaceAll('=', '')
}
