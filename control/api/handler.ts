// What a handler of a call is: a function of the checked request and of the call's context. The context says who calls, writes
// the audit event the route owes, and names the connection for limits. Handlers never see HTTP.

import type { EventFields } from '../../core/audit/event.ts'
import type { CallName, Reply, Request } from './calls.ts'
import type { Caller } from './caller.ts'
import type { StreamName } from './client.ts'

export interface CallContext {
  readonly caller: Caller
  /** Address of the TCP peer; that of a proxy when the connection was relayed. */
  readonly source: Source
  /** Ends when the client is gone or the server drains. */
  readonly signal: AbortSignal
  /** Writes an event about this call; resolves when it is durable. The caller's name and address are added. */
  audit(name: string, code: string, fields: EventFields): Promise<void>
}

export interface Source {
  readonly address: string
  /** Drawn per connection: what is counted when the address is a proxy's. */
  readonly connection: string
  /** The address belongs to a proxy, so it says nothing of the client. */
  readonly relayed: boolean
}

export type Handlers = {
  readonly [N in Exclude<CallName, StreamName>]: (
    request: Request<N>,
    context: CallContext,
  ) => Promise<Reply<N>>
} & {
  readonly [N in StreamName]: (request: Request<N>, context: CallContext) => AsyncIterable<Reply<N>>
}

/** How the person or machine behind a call is called in audit events. */
export function callerName(caller: Caller): string {
  switch (caller.kind) {
    case 'anyone':
      return ''
    case 'local':
      return '@local'
    case 'user':
      return caller.identity.name
    case 'system':
      return caller.identity.id
  }
}
