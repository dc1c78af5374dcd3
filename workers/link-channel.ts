// The frames of one link on its TLS socket, the same at both ends: bounded reading and writing, pings, and one end with one
// reason. It knows no agent and no proxy; who the peer is was settled before, what its frames mean is settled after.

import type { TLSSocket } from 'node:tls'

import type { Clock } from '../core/clock.ts'
import { errorCode } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import {
  deriveLinkKey,
  LINK_EXPORTER_BYTES,
  LINK_EXPORTER_LABEL,
  LinkReader,
  writeLinkFrame,
} from '../core/tunnel/link.ts'
import type { LinkFrame } from '../core/tunnel/link-frame.ts'
import { Deadlines } from './timers.ts'
import type { Timers } from './timers.ts'

export interface LinkChannelOptions {
  readonly socket: TLSSocket
  readonly clock: Clock
  readonly timers: Timers
  /** Frames other than pings. */
  readonly frame: (frame: LinkFrame) => void
  /** Once, with why. */
  readonly closed: (reason: string) => void
}

/** `K` of this link: both ends of the TLS connection derive the same, nobody between them can. */
export function linkKeyOf(socket: TLSSocket): Uint8Array {
  const context = Buffer.alloc(0)
  return deriveLinkKey(
    socket.exportKeyingMaterial(LINK_EXPORTER_BYTES, LINK_EXPORTER_LABEL, context),
  )
}

/** What is wrong with the peer's clock, with both times; undefined when it will do. */
export function clockRefusal(nowMs: number, theirsMs: number): string | undefined {
  if (Math.abs(nowMs - theirsMs) <= max('clockSkewRefuseMs')) return undefined
  const [ours, theirs] = [nowMs, theirsMs].map((ms) => new Date(Math.min(ms, DATE_MAX)))
  return `the clocks differ: here it is ${ours?.toISOString()}, there ${theirs?.toISOString()}`
}

/** The last moment a Date can show. */
const DATE_MAX = 8.64e15

export class LinkChannel {
  readonly #options: LinkChannelOptions
  readonly #reader = new LinkReader()
  readonly #deadlines: Deadlines<'ping' | 'linger'>
  #pingId = 0
  /** Pings since anything was heard. */
  #unheard = 0
  #open = true

  constructor(options: LinkChannelOptions) {
    this.#options = options
    this.#deadlines = new Deadlines(options.clock, options.timers)
    const { socket } = options
    socket.setNoDelay(true)
    socket.on('data', (chunk: Buffer) => this.#read(chunk))
    socket.on('error', (error) => this.#over(error.message))
    socket.on('end', () => this.#over('the peer ended the link'))
    socket.on('close', () => this.#over('the connection closed'))
    this.#armPing()
  }

  get open(): boolean {
    return this.#open
  }

  send(frame: LinkFrame): void {
    const { socket } = this.#options
    if (!this.#open || !socket.writable) return
    socket.write(writeLinkFrame(frame))
    if (socket.writableLength > max('linkBufferedBytesMax'))
      this.#over('the peer does not take its frames (linkBufferedBytesMax)')
  }

  /** Ends the link; with a code the peer is told why. */
  close(reason: string, code?: string): void {
    if (!this.#open) return
    if (code !== undefined) this.send({ type: 'refused', code, text: reason.slice(0, 256) })
    const { socket } = this.#options
    this.#stop()
    // The last frame leaves first; a peer that does not let go is dropped.
    this.#deadlines.after('linger', max('sessionLingerMs'), () => socket.destroy())
    socket.once('close', () => this.#deadlines.clear())
    socket.end()
    this.#options.closed(reason)
  }

  #read(chunk: Uint8Array): void {
    if (!this.#open) return
    this.#unheard = 0
    try {
      for (const frame of this.#reader.push(chunk)) {
        this.#heard(frame)
        if (!this.#open) return
      }
    } catch (error) {
      if (errorCode(error) === undefined) throw error
      this.close(error instanceof Error ? error.message : String(error), 'frame.malformed')
    }
  }

  #heard(frame: LinkFrame): void {
    if (frame.type === 'ping') {
      const { id, sentMs } = frame
      this.send({ type: 'pong', id, sentMs, nowMs: this.#options.clock.now() })
    } else if (frame.type !== 'pong') this.#options.frame(frame)
  }

  #armPing(): void {
    this.#deadlines.after('ping', max('linkPingMs'), () => {
      if (this.#unheard >= max('linkPingsMissedMax')) return this.#over('the peer is silent')
      this.#unheard++
      this.#pingId++
      this.send({ type: 'ping', id: this.#pingId, sentMs: this.#options.clock.now() })
      return this.#armPing()
    })
  }

  #over(reason: string): void {
    if (!this.#open) return
    this.#stop()
    this.#options.socket.destroy()
    this.#options.closed(reason)
  }

  #stop(): void {
    this.#open = false
    this.#deadlines.clear()
  }
}
