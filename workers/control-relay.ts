// Connections with ALPN `sluice-control`: relayed to control as they are. The proxy cannot read them; passwords, join tokens
// and certificate requests pass here inside TLS that ends in control.

import net from 'node:net'

import { max } from '../core/limits.ts'
import type { RelayCounters, SocketHandle } from '../core/messages.ts'
import { discard, farewell, release } from './handover.ts'
import { type Relay, relay } from './relay.ts'
import { alert, ALERTS } from './tls-alert.ts'

export interface ControlRelayEnd {
  readonly reason: string
  readonly counters: RelayCounters
}

interface Address {
  readonly host: string
  readonly port: number
}

const NOTHING: RelayCounters = { fromClientBytes: 0, fromTargetBytes: 0 }

/** Relays one connection to the first control that answers. Resolves when it is over; never rejects. */
export async function relayToControl(
  client: SocketHandle,
  first: Uint8Array,
  addresses: readonly Address[],
  onStart: (running: Relay) => void,
): Promise<ControlRelayEnd> {
  for (const address of addresses) {
    const control = await dial(address)
    if (control === undefined) continue
    const running = relay(client, control, {
      toTarget: first,
      idleMsMax: max('controlRelayIdleMs'),
    })
    onStart(running)
    return { reason: await running.done, counters: running.counters() }
  }
  farewell(client, alert(ALERTS.internalError))
  return { reason: 'control is away', counters: NOTHING }
}

function dial(address: Address): Promise<SocketHandle | undefined> {
  return new Promise((resolve) => {
    const socket = net.connect({ ...address, allowHalfOpen: true, noDelay: true })
    const give = (): void => {
      clearTimeout(deadline)
      socket.destroy()
      resolve(undefined)
    }
    const deadline = setTimeout(give, max('controlDialMs'))
    socket.once('error', give)
    socket.once('connect', () => {
      clearTimeout(deadline)
      const released = release(socket)
      // Control says nothing before the client does; bytes here would belong to nobody.
      if (released !== undefined && released.rest.length > 0) discard(released.handle)
      resolve(released?.rest.length === 0 ? released.handle : undefined)
    })
  })
}
