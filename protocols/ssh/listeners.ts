// What the machine listens on for one connection: `ssh -R`, and the sockets that lead to what a client lends. Bounded together. A port
// is bound to the machine's loopback whatever address is asked for, as sshd does by default: who else may reach it is not the client's
// to say.

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Connected, Listening, Place } from '../../core/ssh/machine.ts'
import { placeFields, possible, type Forwarding } from './forwarding.ts'
import { reasonOf } from './refusal.ts'
import type { Served } from './served.ts'
import type { GlobalAnswer } from './transport/connection.ts'
import type { ChannelKind, GlobalRequest } from './transport/requests.ts'

const LOOPBACK = 'localhost'
const NO: GlobalAnswer = { granted: false }

export class Listeners {
  readonly #served: Served
  readonly #forwarding: Forwarding
  readonly #byName = new Map<string, Listening>()
  #count = 0

  constructor(served: Served, forwarding: Forwarding) {
    this.#served = served
    this.#forwarding = forwarding
  }

  /** Opens one more, if there may be one more. */
  async open<L extends Listening>(listen: () => Promise<L>): Promise<L> {
    if (this.#count >= max('sshForwardsMax'))
      throw new ProxyError('limit.exceeded', 'No further listener: sshForwardsMax.')
    this.#count += 1
    try {
      return await listen()
    } catch (error) {
      this.#count -= 1
      throw error
    }
  }

  close(listening: Listening): void {
    this.#count -= 1
    listening.close()
  }

  /** `ssh -R`, and its end. */
  request(request: GlobalRequest): Promise<GlobalAnswer> {
    switch (request.kind) {
      case 'tcpip-forward':
      case 'streamlocal-forward':
        return this.#listen(request)
      case 'cancel-tcpip-forward':
        return Promise.resolve(this.#cancel(nameOf(request.at.host, request.at.port)))
      case 'cancel-streamlocal-forward':
        return Promise.resolve(this.#cancel(request.path))
    }
  }

  async #listen(
    request: Extract<GlobalRequest, { kind: 'tcpip-forward' | 'streamlocal-forward' }>,
  ): Promise<GlobalAnswer> {
    const asked: Place =
      'at' in request ? { kind: 'tcp', ...request.at } : { kind: 'unix', path: request.path }
    const fields = { direction: 'remote', ...placeFields(asked), listener: true }
    const no = this.#refusal(asked)
    if (no !== undefined) {
      this.#served.refused('T3003E', { ...fields, error: no })
      return NO
    }
    // Somebody may connect before the port is known that the channel must name.
    const { promise: bound, resolve: bind } = Promise.withResolvers<Place>()
    try {
      const at: Place = asked.kind === 'tcp' ? { ...asked, host: LOOPBACK } : asked
      const listening = await this.open(() =>
        this.#served.machine.listen(at, (stream, from) => {
          void bound.then((place) => this.#connected(place, stream, from))
        }),
      )
      const chosen = asked.kind === 'tcp' && asked.port === 0
      const place = chosen ? { ...asked, port: listening.port } : asked
      this.#byName.set(placeName(place), listening)
      bind(place)
      this.#served.tell('T3003I', { ...fields, ...placeFields(place) })
      return chosen ? { granted: true, port: listening.port } : { granted: true }
    } catch (error) {
      this.#served.tell('T3003E', { ...fields, error: reasonOf(error) })
      return NO
    }
  }

  #connected(at: Place, ...[stream, from]: Parameters<Connected>): void {
    const kind: ChannelKind =
      at.kind === 'tcp'
        ? { kind: 'forwarded-tcpip', to: { host: at.host, port: at.port }, from }
        : { kind: 'forwarded-streamlocal', path: at.path }
    const fields = {
      direction: 'remote',
      ...placeFields(at),
      from: `${from.host}:${from.port}`,
    }
    void this.#forwarding.back(stream, kind, fields)
  }

  #cancel(name: string): GlobalAnswer {
    const listening = this.#byName.get(name)
    if (listening === undefined) return NO
    this.#byName.delete(name)
    this.close(listening)
    this.#served.tell('T3003S', { direction: 'remote', addr: name, listener: true })
    return { granted: true }
  }

  #refusal(asked: Place): string | undefined {
    if (!this.#served.permits.remoteForwarding)
      return 'forwarding from the machine is not allowed by your roles (ssh_port_forwarding.remote)'
    const place = asked.kind === 'tcp' ? { ...asked, host: LOOPBACK, port: asked.port || 1 } : asked
    if (!possible(place)) return 'there is no such place'
    return this.#byName.has(placeName(asked)) ? 'it is forwarded already' : undefined
  }
}

function placeName(place: Place): string {
  return place.kind === 'tcp' ? nameOf(place.host, place.port) : place.path
}

function nameOf(host: string, port: number): string {
  return `${host}:${port}`
}
