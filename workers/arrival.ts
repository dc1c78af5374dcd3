// What the listener hands on: connections that said what they are, with the bytes read so far and where they came from. Nothing
// here is verified: a server name, a source without `trusted` and a preface are claims.

import type net from 'node:net'

import type { SocketHandle, Source } from '../core/messages.ts'
import type { SparePreface } from '../core/tunnel/spare.ts'

/** A connection that said what it is. Whoever gets the handle or the socket owns it. */
export type Arrival =
  | {
      readonly kind: 'tls'
      readonly serverName?: string
      /** As the client wrote it. */
      readonly originalName?: string
      readonly alpn: readonly string[]
      /** All bytes read and not answered: the hello, and what came with it. */
      readonly first: Uint8Array
      /** '' or the stage of the last answer. */
      readonly stage: string
      /** By the answers before the hello, or by ALPN. */
      readonly protocol?: string
      readonly source: Source
      readonly handle: SocketHandle
    }
  /** A protocol that begins without TLS (SSH). */
  | {
      readonly kind: 'protocol'
      readonly protocol: string
      readonly first: Uint8Array
      readonly stage: string
      readonly source: Source
      readonly handle: SocketHandle
    }
  /** A message for a live session; its connection is closed already, without an answer. */
  | {
      readonly kind: 'signal'
      readonly protocol: string
      readonly key: Uint8Array
      readonly source: Source
    }
  /** Nothing in the preface is true before its MAC was checked. */
  | {
      readonly kind: 'spare'
      readonly preface: SparePreface
      readonly source: Source
      readonly socket: net.Socket
    }
