// Connections that are forwarded, whichever way they began: a channel on one side, a stream of the machine on the other, bytes both ways
// with half-close until both are over. Each is told of when it begins and when it ends.

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { AuditFields } from '../../core/protocol.ts'
import type { Place } from '../../core/ssh/machine.ts'
import type { ByteStream } from '../../core/stream.ts'
import { feed, pour } from './pump.ts'
import { failed, forbidden, reasonOf } from './refusal.ts'
import type { Served } from './served.ts'
import type { SshChannel } from './transport/channel.ts'
import type { ChannelOpening } from './transport/connection.ts'
import type { ChannelKind } from './transport/requests.ts'

/** What of a forwarding is told; undefined: nothing (an ssh-agent, a display: that they are lent was told). */
type Told = AuditFields | undefined

const HOST = /^[\x21-\x7e]{1,255}$/
const PORT_MAX = 0xffff

export class Forwarding {
  readonly #served: Served
  /** Streams of the machine that are connected or being connected. A channel may be over before its stream is. */
  #streams = 0

  constructor(served: Served) {
    this.#served = served
  }

  /** `ssh -L`, `-D`, `-W`: from the client to a place that the machine reaches. */
  direct(opening: ChannelOpening): void {
    const { kind } = opening
    const place = placeOf(kind)
    if (place === undefined) return opening.refuse('unknownType', 'no such channel type here')
    const fields = { direction: 'local', ...placeFields(place), ...fromFields(kind) }
    const no = this.#refusal(place)
    if (no === undefined) return void this.#connect(opening, place, fields)
    this.#served.refused('T3003E', { ...fields, error: no })
    return opening.refuse('prohibited', forbidden(no))
  }

  /** From the machine to the client: `ssh -R`, an ssh-agent, a display. */
  async back(stream: ByteStream, kind: ChannelKind, told: Told): Promise<void> {
    if (this.#full) return stream.abort(full())
    this.#streams += 1
    try {
      const channel = await this.#served.connection.open(kind)
      await this.#join(channel, stream, told)
    } catch (error) {
      stream.abort(new ProxyError('dial.failed', 'The client does not take it.', { cause: error }))
      if (told !== undefined) this.#served.tell('T3003E', { ...told, error: reasonOf(error) })
    } finally {
      this.#streams -= 1
    }
  }

  get #full(): boolean {
    return this.#streams >= max('sshChannelsMax')
  }

  #refusal(place: Place): string | undefined {
    if (!this.#served.permits.localForwarding)
      return 'forwarding to places is not allowed by your roles (ssh_port_forwarding.local)'
    return possible(place) ? undefined : 'there is no such place'
  }

  async #connect(opening: ChannelOpening, place: Place, fields: AuditFields): Promise<void> {
    if (this.#full) return opening.refuse('shortage', forbidden('too many forwarded connections'))
    this.#streams += 1
    try {
      const stream = await this.#served.machine.connect(place)
      await this.#join(opening.accept(), stream, fields)
    } catch (error) {
      this.#served.tell('T3003E', { ...fields, error: reasonOf(error) })
      opening.refuse('connectFailed', failed('no connection', error))
    } finally {
      this.#streams -= 1
    }
  }

  async #join(channel: SshChannel, stream: ByteStream, told: Told): Promise<void> {
    const bytes = { fromClient: 0, fromTarget: 0 }
    const { host } = this.#served
    if (told !== undefined) this.#served.tell('T3003I', told)
    await this.#served.ssh.auditRoom()
    const up = feed(channel, stream, (chunk) => {
      bytes.fromClient += chunk.length
      host.active()
      return undefined
    })
    const down = pour(stream, channel, (chunk) => {
      bytes.fromTarget += chunk.length
      host.active()
      return undefined
    }).then(() => channel.end())
    await over(channel, stream, up, down)
    const counted = { bytes_from_client: bytes.fromClient, bytes_from_target: bytes.fromTarget }
    if (told !== undefined) this.#served.tell('T3003S', { ...told, ...counted })
  }
}

/** Waits until both directions are over, or one of them can only be cut. */
async function over(
  channel: SshChannel,
  stream: ByteStream,
  up: Promise<void>,
  down: Promise<void>,
): Promise<void> {
  const orderly = Promise.all([up, down]).then(() => true)
  // Once the client has closed its channel, what it sent still goes out; nothing more comes back.
  const closed = Promise.all([up, channel.closed]).then(() => false)
  // A side that was lost is no error here: the other hears of it by the end of its own.
  const whole = await Promise.race([orderly, closed]).catch(() => false)
  closed.catch(() => undefined)
  channel.close()
  // Not when both ends came: a reset would destroy what the machine has not read.
  if (!whole) stream.abort(new ProxyError('protocol.violation', 'The SSH channel is over.'))
  await orderly.catch(() => undefined)
}

function placeOf(kind: ChannelKind): Place | undefined {
  if (kind.kind === 'direct-tcpip') return { kind: 'tcp', ...kind.to }
  return kind.kind === 'direct-streamlocal' ? { kind: 'unix', path: kind.path } : undefined
}

/** Whether the machine may be asked for it at all. */
export function possible(place: Place): boolean {
  if (place.kind === 'unix')
    return /^[^\0]+$/.test(place.path) && Buffer.byteLength(place.path) <= max('sftpPathBytesMax')
  return HOST.test(place.host) && place.port > 0 && place.port <= PORT_MAX
}

export function placeFields(place: Place): AuditFields {
  const text = place.kind === 'unix' ? place.path : `${place.host}:${place.port}`
  return { addr: text.slice(0, max('sftpPathBytesMax')) }
}

function fromFields(kind: ChannelKind): AuditFields {
  if (kind.kind !== 'direct-tcpip') return {}
  return { from: `${kind.from.host.slice(0, max('shownTextMax'))}:${kind.from.port}` }
}

function full(): ProxyError {
  return new ProxyError('limit.exceeded', 'Too many forwarded connections: sshChannelsMax.')
}
