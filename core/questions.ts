// What worker threads ask their main threads, and what they are answered: what only main has, an inventory, leases, the way to
// control. Part of the messages between threads (messages.ts).

import type { DbClientCertificate } from './agent-target.ts'
import type { TargetRef } from './identity.ts'
import type { Target } from './snapshot.ts'

/** A question a proxy's worker puts to its main thread, which has the inventory and the way to control. */
export type ProxyQuestion =
  | { readonly what: 'target'; readonly session: number; readonly target: TargetRef }
  /** What a name stands for that a person typed; counted against what one person may ask for. */
  | {
      readonly what: 'node'
      readonly session: number
      /** Who asks, as limits count them: issuer and name. */
      readonly user: string
      readonly node: string
    }
  /** Some of the targets there are, from a place in the inventory on; counted as the question for a name is. */
  | {
      readonly what: 'nodes'
      readonly session: number
      readonly user: string
      readonly from: number
    }
  /** Control's word that a forwarded SSH certificate may reach a node through this proxy. */
  | {
      readonly what: 'permit'
      readonly target: TargetRef
      readonly principal: string
      /** The person's, wire bytes. */
      readonly certificate: Uint8Array
    }
  /** A certificate for one login on a server without an agent. */
  | {
      readonly what: 'openssh'
      readonly target: TargetRef
      readonly principal: string
      readonly certificate: Uint8Array
      /** Of the proxy's key for it, wire bytes. */
      readonly publicKey: Uint8Array
    }
  | LeaseQuestion

export interface KnownNode {
  readonly target: Target
  /** One of its agents is linked to this proxy, or it has none. */
  readonly online: boolean
}

export type ProxyAnswer =
  /** Absent: there is no such target. */
  | { readonly what: 'target' | 'node'; readonly target?: Target }
  /** Nodes alone. `next`: where to go on; absent: that was all. */
  | { readonly what: 'nodes'; readonly nodes: readonly KnownNode[]; readonly next?: number }
  | { readonly what: 'permit'; readonly permit: Uint8Array }
  | { readonly what: 'openssh'; readonly certificate: Uint8Array }
  | LeaseAnswer
  | NoAnswer

/** A question a worker puts to its main thread; answered by one `answer` with the same id. */
export type AgentQuestion =
  | {
      readonly what: 'db-client'
      readonly target: TargetRef
      readonly principal: string
      /** The user's certificate, DER: control issues on its presentation only. */
      readonly userCertificate: Uint8Array
    }
  | LeaseQuestion

/** One session more of a person whose roles limit them. */
export interface LeaseQuestion {
  readonly what: 'lease'
  readonly issuer: string
  readonly user: string
  readonly decisionId: string
  readonly connectionsMax: number
}

export interface LeaseAnswer {
  readonly what: 'lease'
  readonly lease: string
}

/** `unavailable`: control is away and nothing is cached. `refused`: control or the limit says no. */
export interface NoAnswer {
  readonly what: 'no'
  readonly kind: 'unavailable' | 'refused'
  readonly message: string
}

export type AgentAnswer =
  | { readonly what: 'db-client'; readonly certificate: DbClientCertificate }
  | LeaseAnswer
  | NoAnswer
