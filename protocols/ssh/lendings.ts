// What a client lends to the login's programs: its ssh-agent and its X display. Each is a socket of the machine whose connections become
// channels to the client. Granted by the roles and the certificate, told of once, and gone with the connection.

import type { SshServices } from '../../core/ssh/services.ts'
import type { Forwarding } from './forwarding.ts'
import type { Listeners } from './listeners.ts'
import { reasonOf } from './refusal.ts'
import type { Served } from './served.ts'
import type { ChannelRequest } from './transport/requests.ts'

type Variables = SshServices['environment']

const PROTOCOL = /^[A-Za-z0-9-]{1,64}$/
const COOKIE = /^([0-9a-fA-F]{2}){1,256}$/

export class Lendings {
  readonly #served: Served
  readonly #forwarding: Forwarding
  readonly #listeners: Listeners
  #agentPath: Promise<string> | undefined

  constructor(served: Served, forwarding: Forwarding, listeners: Listeners) {
    this.#served = served
    this.#forwarding = forwarding
    this.#listeners = listeners
  }

  /** Variables that lead to the client's ssh-agent; undefined: it is not forwarded. One socket for all programs of the connection. */
  async agent(): Promise<Variables | undefined> {
    if (!this.#served.permits.forwardAgent) {
      this.#served.refused('T3013W', {
        error: 'agent forwarding is not allowed by your roles (forward_agent)',
      })
      return undefined
    }
    try {
      this.#agentPath ??= this.#openAgent()
      return { SSH_AUTH_SOCK: await this.#agentPath }
    } catch (error) {
      this.#agentPath = undefined
      this.#served.refused('T3013W', { error: reasonOf(error) })
      return undefined
    }
  }

  /** The variable that leads to the client's display; undefined: it is not forwarded. */
  async x11(request: Extract<ChannelRequest, { kind: 'x11' }>): Promise<Variables | undefined> {
    const no = this.#x11Refusal(request)
    if (no !== undefined) {
      this.#served.refused('T3008W', { error: no })
      return undefined
    }
    try {
      const display = await this.#openDisplay(request)
      this.#served.tell('T3008I', { screen: request.screen })
      return { DISPLAY: display }
    } catch (error) {
      this.#served.refused('T3008W', { error: reasonOf(error) })
      return undefined
    }
  }

  #x11Refusal({ protocol, cookie }: Extract<ChannelRequest, { kind: 'x11' }>): string | undefined {
    if (!this.#served.permits.x11)
      return 'X11 forwarding is not allowed by your roles (permit_x11_forwarding)'
    return PROTOCOL.test(protocol) && COOKIE.test(cookie) ? undefined : 'the cookie is none'
  }

  async #openAgent(): Promise<string> {
    const { path } = await this.#listeners.open(() =>
      this.#served.machine.agentSocket(
        (stream) => void this.#forwarding.back(stream, { kind: 'auth-agent' }, undefined),
      ),
    )
    this.#served.tell('T3013I')
    return path
  }

  async #openDisplay(request: Extract<ChannelRequest, { kind: 'x11' }>): Promise<string> {
    const { single, protocol, cookie, screen } = request
    let used = false
    const listening = await this.#listeners.open(() =>
      this.#served.machine.x11({ protocol, cookie, screen }, (stream, from) => {
        if (single && used) return stream.abort(new Error('one connection was asked for'))
        used = true
        return void this.#forwarding.back(stream, { kind: 'x11', from }, undefined)
      }),
    )
    return listening.display
  }
}
