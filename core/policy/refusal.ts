// The words of a denial. They tell the person which of their own roles stand in the way and what they asked for, never whether
// something exists that they may not see: an unknown database and an invisible one read alike.

import type { TargetKind, UserIdentity } from '../identity.ts'
import type { Access, Refusal } from '../protocol.ts'
import type { CompiledRoles } from './compile.ts'
import { isServedKind } from './compile.ts'
import type { Denial, Withheld } from './decide.ts'
import { withheldFrom } from './decide.ts'
import { shown } from './shown.ts'

/** For a target that exists. `reason` is the middle of a sentence, `next` a sentence; the protocol puts them together. */
export function policyRefusal(decisionId: string, denial: Denial, access: Access): Refusal {
  const reason = denial.visible ? visibleReason(denial, access) : hiddenReason(access.target.kind)
  return refusal(decisionId, reason, denial.withheld)
}

/** For a name that no target has. The same words as for one that is hidden. */
export function unknownTargetRefusal(
  decisionId: string,
  kind: TargetKind,
  identity: UserIdentity,
  roles: CompiledRoles,
): Refusal {
  const withheld = isServedKind(kind) ? withheldFrom(kind, identity, roles) : []
  return refusal(decisionId, hiddenReason(kind), withheld)
}

const KIND_WORDS: Readonly<Record<TargetKind, string>> = {
  db: 'database',
  node: 'node',
  app: 'app',
  kube_cluster: 'Kubernetes cluster',
  windows_desktop: 'desktop',
}

function hiddenReason(kind: TargetKind): string {
  return `no role of yours grants a ${KIND_WORDS[kind]} of this name`
}

function visibleReason(denial: Denial, access: Access): string {
  const { role = '', field = '' } = denial
  const asked = askedFor(access)
  switch (denial.cause) {
    case 'denies':
      return `your role "${shown(role)}" denies ${asked} (${field})`
    case 'refuses':
    case 'demands':
      return `your role "${shown(role)}" sets ${field}, which Sluice does not enforce yet, so it refuses`
    case 'no-match':
      return access.replication === true
        ? `no role of yours allows replication as ${asked} (options.db_replication)`
        : `no role of yours allows ${asked}`
    case 'kind':
    case 'request':
      return access.target.kind === 'node'
        ? 'the login asked for is empty or too long'
        : 'the user or database name asked for is empty or too long'
  }
}

function askedFor({ target, principal, resource }: Access): string {
  if (target.kind === 'node') return `the login "${shown(principal)}"`
  return `database user "${shown(principal)}" with database name "${shown(resource)}"`
}

function refusal(decisionId: string, reason: string, withheld: readonly Withheld[]): Refusal {
  const [first] = withheld
  const because =
    first === undefined
      ? ''
      : `; your role "${shown(first.role)}" grants none, as Sluice does not enforce its ${first.field} yet`
  return {
    decisionId,
    kind: 'policy',
    reason: reason + because,
    next: `Ask an administrator, who sees why with "tctl explain ${decisionId}".`,
  }
}
