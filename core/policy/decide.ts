// The decision: a pure function of who, what and the roles. Nothing is allowed by default; one matching deny of any role held
// wins over everything; else at least one role must by itself match labels, principal and, of databases, the name.
// It reads no clock and no state, so that the same input gives the same answer in control, at the agent and in `tctl explain`.

import type { UserIdentity } from '../identity.ts'
import { max } from '../limits.ts'
import type { Grant } from '../protocol.ts'
import type { CompiledRole, CompiledRoles, ServedKind } from './compile.ts'
import { isServedKind } from './compile.ts'
import type { PolicyRequest, Verdict } from './judge.ts'
import { judge } from './judge.ts'
import { lockModeOf, mergeOptions } from './options.ts'
import { isVisible } from './reach.ts'

export interface DecisionInput extends PolicyRequest {
  readonly roles: CompiledRoles
}

/** Why not. Everything here is for control and audit; core/login.ts makes the words a person may read. */
export interface Denial {
  /** `kind`: no service for it. `request`: a name that is empty or too long. `no-match`: no role grants it. */
  readonly cause: 'kind' | 'request' | 'denies' | 'refuses' | 'demands' | 'no-match'
  /** The role that said no, and its field. */
  readonly role?: string
  readonly field?: string
  /** Roles held that grant nothing of the kind, with the field nothing enforces. The same for every target. */
  readonly withheld: readonly Withheld[]
  /** Whether the person may know that the target exists. */
  readonly visible: boolean
}

export interface Withheld {
  readonly role: string
  readonly field: string
}

export type Decision =
  | { readonly allow: true; readonly grant: Grant; readonly disconnectExpiredCert: boolean }
  | { readonly allow: false; readonly denial: Denial }

export function decide(input: DecisionInput): Decision {
  const { kind } = input.target.ref
  if (!isServedKind(kind)) return denied({ cause: 'kind', withheld: [], visible: false })
  if (!isNamed(input)) return denied({ cause: 'request', withheld: [], visible: false })
  const granting: CompiledRole[] = []
  let no: No | undefined
  for (const name of new Set(input.identity.roles)) {
    const role = input.roles.get(name)
    if (role === undefined) continue
    const verdict = judge(role, kind, input)
    if (verdict.outcome === 'allows') granting.push(role)
    else no = worse(no, name, verdict)
  }
  if (no === undefined && granting.length > 0)
    return { allow: true, ...mergeOptions(granting, kind, lockModeOf(input.identity, input.roles)) }
  return denied({
    ...(no ?? { cause: 'no-match' }),
    withheld: withheldFrom(kind, input.identity, input.roles),
    visible: isVisible(input.identity, input.target, input.roles),
  })
}

/** Looks at no target, so that naming the field tells nothing of what exists. */
export function withheldFrom(
  kind: ServedKind,
  identity: UserIdentity,
  roles: CompiledRoles,
): readonly Withheld[] {
  return [...new Set(identity.roles)].sort().flatMap((role) => {
    const field = roles.get(role)?.kinds[kind].unenforced
    return field?.effect === 'withholds' || field?.effect === 'refuses'
      ? [{ role, field: field.field }]
      : []
  })
}

/** What no role can allow otherwise, whatever it says. A node has no parts: whoever names one means something else. */
function isNamed({ access, target }: DecisionInput): boolean {
  const { kind, name } = target.ref
  const same = access.target.kind === kind && access.target.name === name
  const part = kind === 'node' ? access.resource === '' : isNameable(access.resource)
  return same && isNameable(access.principal) && part
}

function isNameable(name: string): boolean {
  return name !== '' && name.length <= max('nameLengthMax')
}

interface No {
  readonly cause: 'denies' | 'refuses' | 'demands'
  readonly role: string
  readonly field: string
}

const GRAVITY: Readonly<Record<No['cause'], number>> = { demands: 1, denies: 2, refuses: 3 }

/** The graver no, then the role first by name: the answer must not depend on the order of roles. */
function worse(no: No | undefined, role: string, verdict: Verdict): No | undefined {
  const { outcome } = verdict
  if (outcome !== 'denies' && outcome !== 'refuses' && outcome !== 'demands') return no
  const field = outcome === 'denies' ? verdict.deny.field : verdict.field
  const other: No = { cause: outcome, role, field }
  if (no === undefined) return other
  const graver = GRAVITY[other.cause] - GRAVITY[no.cause]
  return graver > 0 || (graver === 0 && role < no.role) ? other : no
}

function denied(denial: Denial): Decision {
  return { allow: false, denial }
}
