// The person's ssh-agent (draft-miller-ssh-agent): identities listed, added with a lifetime, removed, signed with. One connection per
// request, so that an agent that hangs or lies can only fail the one. What it answers is bounded before it is kept.

import type { KeyObject } from 'node:crypto'
import net from 'node:net'

import { ProxyError } from '../core/errors.ts'
import { type LimitName, max } from '../core/limits.ts'
import { SshReader, string, u32 } from '../core/ssh/bytes.ts'
import { privateFields, secretFields } from '../core/ssh/private-key.ts'

/** Message numbers, section 5.1. */
const MESSAGE = {
  success: 6,
  requestIdentities: 11,
  identitiesAnswer: 12,
  signRequest: 13,
  signResponse: 14,
  addIdentity: 17,
  removeIdentity: 18,
  addIdConstrained: 25,
} as const
const CONSTRAIN_LIFETIME = 1
/** Flags of a signature request, section 3.6.1: which digest an RSA key signs with. */
const RSA_FLAGS: Readonly<Record<string, number>> = { 'rsa-sha2-256': 2, 'rsa-sha2-512': 4 }
const LIFETIME_SECONDS_MAX = 0xffff_ffff

export interface AgentIdentity {
  /** Public key or certificate. */
  readonly blob: Uint8Array
  readonly comment: string
}

export interface NewIdentity {
  readonly key: KeyObject
  /** Added in place of the plain key. */
  readonly certificate?: Uint8Array
  readonly comment: string
  /** After this the agent forgets it. */
  readonly lifetimeSeconds?: number
}

export class SshAgent {
  readonly #path: string

  /** `path`: of the agent's socket, as SSH_AUTH_SOCK has it. */
  constructor(path: string) {
    this.#path = path
  }

  async list(): Promise<readonly AgentIdentity[]> {
    const reader = await this.#ask(
      Uint8Array.of(MESSAGE.requestIdentities),
      MESSAGE.identitiesAnswer,
    )
    const found: AgentIdentity[] = []
    // The count is only believed as far as the bytes go.
    for (let left = reader.u32(); left > 0; left--) {
      const blob = reader.string()
      found.push({ blob, comment: Buffer.from(reader.string()).toString('utf8') })
    }
    return found
  }

  async add(identity: NewIdentity): Promise<void> {
    await this.#ask(writeAdd(identity), MESSAGE.success)
  }

  async remove(blob: Uint8Array): Promise<void> {
    await this.#ask(
      Buffer.concat([Uint8Array.of(MESSAGE.removeIdentity), string(blob)]),
      MESSAGE.success,
    )
  }

  /** A whole signature blob by the key of `blob`; `algorithm` chooses between those of an RSA key. */
  async sign(blob: Uint8Array, data: Uint8Array, algorithm: string): Promise<Uint8Array> {
    const fields = [string(blob), string(data), u32(RSA_FLAGS[algorithm] ?? 0)]
    const request = Buffer.concat([Uint8Array.of(MESSAGE.signRequest), ...fields])
    return (await this.#ask(request, MESSAGE.signResponse)).string()
  }

  /** The answer behind its number. Every other answer is a no. */
  async #ask(request: Uint8Array, wanted: number): Promise<SshReader> {
    const mayAsk = wanted === MESSAGE.signResponse
    const limit: LimitName = mayAsk ? 'sshAgentMs' : 'sshAgentQuickMs'
    const answer = await exchange(this.#path, request, limit)
    if (answer[0] !== wanted) throw failed('it refused')
    return new SshReader(answer.subarray(1))
  }
}

/** The agent that the environment names; undefined when none answers. */
export async function findAgent(
  env: Readonly<Record<string, string | undefined>>,
): Promise<SshAgent | undefined> {
  const path = env['SSH_AUTH_SOCK']
  if (path === undefined || path === '') return undefined
  const agent = new SshAgent(path)
  const answers = await agent.list().then(
    () => true,
    () => false,
  )
  return answers ? agent : undefined
}

function writeAdd({ key, certificate, comment, lifetimeSeconds }: NewIdentity): Uint8Array {
  const fields =
    certificate === undefined
      ? [privateFields(key)]
      : [string(new SshReader(certificate).text()), string(certificate), ...secretFields(key)]
  const constraint =
    lifetimeSeconds === undefined
      ? []
      : [Uint8Array.of(CONSTRAIN_LIFETIME), u32(Math.min(lifetimeSeconds, LIFETIME_SECONDS_MAX))]
  const type = constraint.length === 0 ? MESSAGE.addIdentity : MESSAGE.addIdConstrained
  return Buffer.concat([Uint8Array.of(type), ...fields, string(comment), ...constraint])
}

/** One request and its whole answer, both framed by their length. */
function exchange(path: string, request: Uint8Array, limit: LimitName): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ path })
    let held: Buffer = Buffer.alloc(0)
    const settle = (act: () => void): void => {
      clearTimeout(timer)
      socket.destroy()
      act()
    }
    const fail = (why: string, cause?: unknown): void => settle(() => reject(failed(why, cause)))
    const timer = setTimeout(() => fail(`it did not answer within ${limit}`), max(limit))
    socket.on('error', (error) => fail('its socket does not work', error))
    socket.once('close', () => fail('it closed the connection'))
    socket.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      if (held.length < 4) return
      const length = held.readUInt32BE(0)
      if (length > max('sshAgentReplyBytesMax'))
        return fail('its answer is longer than sshAgentReplyBytesMax')
      if (held.length >= 4 + length) settle(() => resolve(held.subarray(4, 4 + length)))
    })
    socket.write(Buffer.concat([u32(request.length), request]))
  })
}

function failed(why: string, cause?: unknown): ProxyError {
  return new ProxyError('dial.failed', `The ssh-agent cannot be used: ${why}.`, {
    ...(cause === undefined ? {} : { cause }),
    next: 'SSH_AUTH_SOCK names its socket; `ssh-add -l` tells whether it works.',
  })
}
