// The protocols Sluice carries: one line each, in the order in which first bytes are offered to them. Nothing registers
// itself; the listener, the workers and the contract suite all read this list.

import type { Protocol, Recognition } from '../core/protocol.ts'
import { postgres } from './postgres/index.ts'
import { ssh } from './ssh/index.ts'

/** The outer SSH of a jump: no protocol of a target, and served by proxies alone. */
export { serveJump } from './ssh/jump.ts'

export const protocols: readonly Protocol[] = [postgres, ssh]

/** What the first bytes of a connection are. `protocol` is absent while nobody is sure. */
export type FirstBytes =
  | { readonly verdict: 'more' | 'no' }
  | {
      readonly verdict: 'answer' | 'signal' | 'mine'
      readonly protocol: Protocol
      readonly recognition: Recognition
    }

/** Ask each row; the first that knows the bytes has them. `no` once none of them can become sure any more. */
export function recogniseFirst(
  first: Uint8Array,
  rows: readonly Protocol[] = protocols,
): FirstBytes {
  let more = false
  for (const protocol of rows) {
    const recognition = protocol.recognise(first)
    switch (recognition.verdict) {
      case 'answer':
      case 'signal':
      case 'mine':
        return { verdict: recognition.verdict, protocol, recognition }
      case 'more':
        more = true
        break
      case 'no':
        break
    }
  }
  return { verdict: more ? 'more' : 'no' }
}

/** The protocol that a client names in its TLS hello; undefined for a name nobody has. */
export function protocolByAlpn(name: string): Protocol | undefined {
  return protocols.find((protocol) => protocol.alpn.includes(name))
}

/** The protocol of a target, by the engine id in its resource. */
export function protocolByName(name: string): Protocol | undefined {
  return protocols.find((protocol) => protocol.name === name)
}
