// The one gate of a connection: every channel a client opens and everything it asks of the connection comes through here, and is served
// or refused by what its right says of just that. A kind that is not named here is refused.

import type { AuditFields } from '../../core/protocol.ts'
import { max } from '../../core/limits.ts'
import { Forwarding } from './forwarding.ts'
import { Lendings } from './lendings.ts'
import { Listeners } from './listeners.ts'
import { forbidden, line } from './refusal.ts'
import type { Served } from './served.ts'
import { SessionChannel } from './session-channel.ts'
import type { ChannelOpening, ConnectionHandlers, GlobalAnswer } from './transport/connection.ts'
import type { GlobalRequest } from './transport/requests.ts'

export class Channels implements ConnectionHandlers {
  readonly #served: Served
  readonly #forwarding: Forwarding
  readonly #listeners: Listeners
  readonly #lendings: Lendings
  readonly #sessions = new Map<SessionChannel, Promise<void>>()
  /** Session channels that are not closed; some of those above are, while their recording is stored. */
  #open = 0

  constructor(served: Served) {
    this.#served = served
    this.#forwarding = new Forwarding(served)
    this.#listeners = new Listeners(served, this.#forwarding)
    this.#lendings = new Lendings(served, this.#forwarding, this.#listeners)
  }

  open(opening: ChannelOpening): void {
    const { kind } = opening.kind
    switch (kind) {
      case 'session':
        return this.#session(opening)
      case 'direct-tcpip':
      case 'direct-streamlocal':
        return this.#forwarding.direct(opening)
      // Of servers; the transport has refused them.
      case 'forwarded-tcpip':
      case 'forwarded-streamlocal':
      case 'auth-agent':
      case 'x11':
        return opening.refuse('prohibited', 'not by this side')
    }
  }

  global(request: GlobalRequest): Promise<GlobalAnswer> {
    return this.#listeners.request(request)
  }

  unknown(name: string): void {
    this.#refused({
      kind: line(name).slice(0, max('shownTextMax')),
      error: 'there is no such kind of channel here',
    })
  }

  /** The session ends from outside: whoever looks at a program hears why. */
  farewell(sentence: string): void {
    for (const session of this.#sessions.keys()) session.farewell(sentence)
  }

  /** Resolves when every program was told of and every recording is where it belongs. */
  async over(): Promise<void> {
    await Promise.all(this.#sessions.values())
  }

  #session(opening: ChannelOpening): void {
    const { sessionsMax } = this.#served.permits
    if (sessionsMax > 0 && this.#open >= sessionsMax) {
      const error = `your roles allow ${sessionsMax} sessions on one connection (max_sessions)`
      this.#refused({ kind: 'session', error })
      return opening.refuse('shortage', forbidden(error))
    }
    const session = new SessionChannel(opening, this.#served, this.#lendings)
    this.#open += 1
    void session.closed.then(() => {
      this.#open -= 1
    })
    const over = session.over().finally(() => this.#sessions.delete(session))
    this.#sessions.set(session, over)
    return undefined
  }

  #refused(fields: AuditFields): void {
    this.#served.refused('SLH001W', fields)
  }
}
