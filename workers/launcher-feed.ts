// Hands control's signed messages on to the launcher of this machine: what is held when the connection stands, then each as it comes.
// The newest of each type is kept, as long as the agent runs; a launcher that is away or starts again hears all of it anew.

import type { SignedMessage } from '../core/snapshot-codec.ts'
import type { SavedTrust } from '../core/snapshot-keeper.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { ByteStream } from '../core/stream.ts'
import { frame, writeMessage } from './framed.ts'
import { launchPaths } from './launch-wire.ts'
import { dialLocal } from './local-socket.ts'
import { pause } from './pause.ts'
import { encodeSigned } from './signed-frame.ts'

export interface LauncherFeedOptions {
  /** Where the launcher keeps its sockets. */
  readonly folder: string
  /** What the agent believed at its start; its signers are the launcher's first trust. */
  readonly saved: SavedTrust
  readonly log: Logger
}

/** Locks first, so that no snapshot lets somebody in whom they keep out. */
const ORDER = ['locks', 'snapshot', 'beacon'] as const
type Handed = (typeof ORDER)[number]

export class LauncherFeed {
  readonly #options: LauncherFeedOptions
  readonly #newest = new Map<Handed, SignedMessage>()
  /** Not yet said on the connection that stands. */
  readonly #due = new Set<Handed>()
  readonly #stopping = new AbortController()
  #stream: ByteStream | undefined
  #changed = Promise.withResolvers<void>()

  constructor(options: LauncherFeedOptions) {
    this.#options = options
    const { snapshot, locks } = options.saved
    if (locks !== undefined) this.offer({ type: 'locks', ...bytesOf(locks) })
    if (snapshot !== undefined) this.offer({ type: 'snapshot', ...bytesOf(snapshot) })
  }

  start(): void {
    void this.#run()
  }

  stop(): void {
    this.#stopping.abort()
    this.#stream?.abort(new Error('the agent ends'))
    this.#changed.resolve()
  }

  /** A message that came, whoever carried it. The launcher judges it by itself, so one that is bad only costs a line in its log. */
  offer(message: SignedMessage): void {
    const type = ORDER.find((each) => each === message.type)
    if (type === undefined) return
    this.#newest.set(type, message)
    this.#due.add(type)
    this.#changed.resolve()
  }

  async #run(): Promise<void> {
    const { log } = this.#options
    const { signal } = this.#stopping
    let pauseMs = max('redialMinMs')
    while (!signal.aborted) {
      try {
        await this.#carry(() => {
          pauseMs = max('redialMinMs')
        })
      } catch (error) {
        if (!signal.aborted) log.debug('the launcher is away', { error: String(error) })
      }
      await pause(pauseMs, signal)
      pauseMs = Math.min(pauseMs * 2, max('redialMaxMs'))
    }
  }

  async #carry(stands: () => void): Promise<void> {
    const { folder, saved } = this.#options
    const stream = await dialLocal(launchPaths(folder).launcher)
    this.#stream = stream
    const signers = saved.signers.map((spki) => Buffer.from(spki, 'base64'))
    await writeMessage(stream, { kind: 'trust', signers })
    for (const type of this.#newest.keys()) this.#due.add(type)
    stands()
    while (!this.#stopping.signal.aborted) {
      this.#changed = Promise.withResolvers()
      await this.#say(stream)
      await Promise.race([this.#changed.promise, ended(stream)])
    }
  }

  /** A message that is replaced while the launcher is slow is not said any more: the newer one says all of it. */
  async #say(stream: ByteStream): Promise<void> {
    for (const type of ORDER) {
      const message = this.#newest.get(type)
      if (!this.#due.delete(type) || message === undefined) continue
      await stream.write(frame(encodeSigned(message)))
    }
  }
}

async function ended(stream: ByteStream): Promise<never> {
  await stream.closed
  throw new Error('the launcher closed the connection')
}

function bytesOf(saved: { readonly body: string; readonly signature: string }): {
  body: Uint8Array
  signature: Uint8Array
} {
  const { body, signature } = saved
  return { body: Buffer.from(body, 'base64'), signature: Buffer.from(signature, 'base64') }
}
