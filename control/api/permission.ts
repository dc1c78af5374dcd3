// Who may call a route, and which right it takes. `super` is control's own unix socket, which may do everything and is audited
// as such; a row that demands it is closed to the network.

import type { ResourceVerb } from '../../core/policy/rights.ts'

/**
 * `user`: a certificate of the user CA without a route. `system`: an agent or a proxy. `admin`: a user with the row's
 * permission, or the unix socket.
 */
export type Who = 'anyone' | 'user' | 'agent' | 'proxy' | 'system' | 'admin'

export type Verb = ResourceVerb

/**
 * `none`: nobody is asked. `own`: the handler serves the caller's own things only. `super`: the unix socket alone.
 * Otherwise a rule of the caller's roles must grant `verb` on `kind`; `:kind` stands for the path segment.
 */
export type Permission = 'none' | 'own' | 'super' | { readonly kind: string; readonly verb: Verb }

/** The audit event a call leaves; `by-kind`: the one of the resource kind; or the reason for none. */
export type AuditName = string | { readonly none: string }
