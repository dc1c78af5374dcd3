// What a proxy's main thread hears from control and tells it: the watch of signed messages, routing ticket keys, its own report.
// Each is tried again for ever with a growing pause; a control that is away stops nothing that is already known.

import { errorCode } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { SignedMessage } from '../core/snapshot-codec.ts'
import type { TicketKey } from '../core/tunnel/ticket.ts'
import { pause } from './pause.ts'
import type { ProxyControl, ProxyReport } from './proxy-options.ts'
import type { TrustFeed } from './trust-feed.ts'

export interface ControlFeedOptions {
  readonly control: ProxyControl
  readonly feed: TrustFeed
  readonly log: Logger
  readonly report: () => ProxyReport
}

export class ControlFeed {
  readonly #options: ControlFeedOptions
  readonly #stopping = new AbortController()
  #timer: NodeJS.Timeout | undefined
  #ticketKeys: readonly TicketKey[] = []
  #heard = false

  constructor(options: ControlFeedOptions) {
    this.#options = options
  }

  /** Control was heard since the start, and routing tickets can be checked. */
  get ready(): boolean {
    return this.#heard && this.#ticketKeys.length > 0
  }

  get ticketKeys(): readonly TicketKey[] {
    return this.#ticketKeys
  }

  start(): void {
    void this.#watch()
    void this.#fetchKeys()
    this.#timer = setInterval(() => this.report(), max('proxyReportMs'))
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#stopping.abort()
  }

  /** Tells control now: a link came or went. */
  report(): void {
    const { control, report, log } = this.#options
    control
      .report(report())
      .catch((error: unknown) => log.debug('report not taken', { error: String(error) }))
  }

  async #watch(): Promise<void> {
    const { control, feed, log } = this.#options
    const { signal } = this.#stopping
    let pauseMs = max('redialMinMs')
    while (!signal.aborted) {
      try {
        for await (const message of control.watch(feed.held, signal)) {
          this.#take(message)
          pauseMs = max('redialMinMs')
        }
      } catch (error) {
        if (!signal.aborted)
          log.warn('control is away; trying again', {
            error: String(error),
            code: errorCode(error),
          })
      }
      await pause(pauseMs, signal)
      pauseMs = Math.min(pauseMs * 2, max('redialMaxMs'))
    }
  }

  #take(message: SignedMessage): void {
    if (!this.#heard) this.#options.log.info('control heard')
    this.#heard = true
    this.#options.feed.accept(message, 'control')
  }

  async #fetchKeys(): Promise<void> {
    const { control, log } = this.#options
    const { signal } = this.#stopping
    while (!signal.aborted) {
      try {
        this.#ticketKeys = await control.ticketKeys()
        await pause(max('ticketKeysMs'), signal)
      } catch (error) {
        log.debug('ticket keys not fetched', { error: String(error) })
        await pause(max('redialMinMs') * 5, signal)
      }
    }
  }
}
