// A client that says what the test wants it to say: the transport layer is ours, every message above it is written out by the test.

import { streamPair } from '../../../test/fake/stream.ts'
import { FakeTimers } from '../../../workers/timers.ts'
import type { ProxyError } from '../../../core/errors.ts'
import { SshReader, string, u32 } from '../../../core/ssh/bytes.ts'
import type { ByteStream } from '../../../core/stream.ts'
import type { Accepted, AcceptOptions, ProvenLogin } from './accept.ts'
import { signatureOf } from './algorithms.ts'
import type { CertificateKey } from './host-key.ts'
import { MESSAGE } from './message.ts'
import { startServer, userKey } from './pair.fixture.ts'
import { SshTransport } from './transport.ts'

export interface Signed {
  readonly user?: string
  readonly key?: CertificateKey
  readonly algorithm?: string
  /** Instead of the key's own signature. */
  readonly sign?: (data: Uint8Array) => Uint8Array
}

export class RawClient {
  readonly transport: SshTransport
  readonly closed: Promise<ProxyError | undefined>
  readonly handshaken: Promise<void>
  #sessionId: Uint8Array = Buffer.alloc(0)
  #messages: Buffer[] = []
  #wake: (() => void)[] = []

  constructor(stream: ByteStream, timers: FakeTimers) {
    const closed = Promise.withResolvers<ProxyError | undefined>()
    const handshaken = Promise.withResolvers<void>()
    this.closed = closed.promise
    this.handshaken = handshaken.promise
    this.transport = new SshTransport(
      { stream, timers, side: { verifyHost: () => true } },
      {
        handshake: ({ sessionId }) => {
          this.#sessionId = sessionId
          handshaken.resolve()
        },
        payload: (payload) => {
          this.#messages.push(payload)
          for (const resolve of this.#wake.splice(0)) resolve()
        },
        closed: (error) => {
          closed.resolve(error)
          for (const resolve of this.#wake.splice(0)) resolve()
        },
      },
    )
    this.transport.start()
  }

  send(type: number, ...fields: readonly Uint8Array[]): void {
    this.transport.send(Buffer.concat([Uint8Array.of(type), ...fields]))
  }

  /** The next message; an empty one when the connection is over. */
  async next(): Promise<Buffer> {
    for (;;) {
      const message = this.#messages.shift()
      if (message !== undefined) return message
      if (this.transport.over) return Buffer.alloc(0)
      await new Promise<void>((resolve) => this.#wake.push(resolve))
    }
  }

  /** The type of the next message; 0 at the end. */
  async type(): Promise<number> {
    return (await this.next())[0] ?? 0
  }

  async service(): Promise<void> {
    await this.handshaken
    this.send(MESSAGE.serviceRequest, string('ssh-userauth'))
    await this.next()
  }

  /** Asks whether a key would do. */
  offer(key: CertificateKey, user = 'alice'): void {
    const algorithm = key.algorithms[0] ?? ''
    const method = [string('publickey'), Uint8Array.of(0), string(algorithm), string(key.blob)]
    this.send(MESSAGE.authRequest, string(user), string('ssh-connection'), ...method)
  }

  async prove(signed: Signed = {}): Promise<void> {
    const { user = 'alice', key = userKey(), sign } = signed
    const algorithm = signed.algorithm ?? key.algorithms[0] ?? ''
    const request = Buffer.concat([
      Uint8Array.of(MESSAGE.authRequest),
      string(user),
      string('ssh-connection'),
      string('publickey'),
      Uint8Array.of(1),
      string(algorithm),
      string(key.blob),
    ])
    const data = Buffer.concat([string(this.#sessionId), request])
    const signature = sign?.(data) ?? (await key.sign(data, signatureOf(algorithm) ?? ''))
    this.transport.send(Buffer.concat([request, string(signature)]))
  }

  /** Opens a session; returns the server's number of it. */
  async session(id = 0, window = 1_000_000): Promise<Uint8Array> {
    this.send(MESSAGE.channelOpen, string('session'), u32(id), u32(window), u32(32_768))
    const reader = new SshReader((await this.next()).subarray(5))
    return u32(reader.u32())
  }
}

export interface Raw {
  readonly client: RawClient
  readonly timers: FakeTimers
  readonly server: Promise<Accepted<ProvenLogin>>
}

/** A raw client whose key exchange is done and whose service is accepted. */
export async function rawClient(change: Partial<AcceptOptions<ProvenLogin>> = {}): Promise<Raw> {
  const timers = new FakeTimers()
  const [near, far] = streamPair()
  const server = startServer(far, timers, change)
  server.catch(() => undefined)
  const client = new RawClient(near, timers)
  await client.service()
  return { client, timers, server }
}

/** One that is let in as well. */
export async function rawLogin(
  change: Partial<AcceptOptions<ProvenLogin>> = {},
): Promise<Raw & { readonly accepted: Accepted<ProvenLogin> }> {
  const raw = await rawClient(change)
  await raw.client.prove()
  await raw.client.next()
  raw.client.transport.admit()
  return { ...raw, accepted: await raw.server }
}
