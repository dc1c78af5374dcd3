// An explanation as text: what `tctl explain` prints. One line for the outcome, one per role, one per change.

import type { Change } from './change.ts'
import type { Explanation, RoleFinding } from './explain.ts'
import { shown } from './shown.ts'

export function renderExplanation(explanation: Explanation): string {
  const lines = [headline(explanation)]
  if (explanation.reason !== undefined) lines.push(`Reason: ${explanation.reason}`)
  if (explanation.roles.length > 0) {
    lines.push('', 'Roles considered:')
    for (const role of explanation.roles) lines.push(`  ${renderFinding(role, explanation)}`)
    if (explanation.rolesOmitted > 0)
      lines.push(`  and ${String(explanation.rolesOmitted)} more roles`)
  } else if (explanation.check === 'policy') lines.push('', 'The certificate names no roles.')
  if (explanation.changes.length > 0) {
    lines.push('', 'The smallest change that would allow it:')
    for (const change of explanation.changes) lines.push(`  - ${renderChange(change)}`)
  }
  return `${lines.join('\n')}\n`
}

function headline(explanation: Explanation): string {
  const { target, user, issuer } = explanation
  const who = issuer === 'local' ? user : `${user} (${issuer})`
  const part = target.kind === 'node' ? '' : `, database "${explanation.resource}"`
  const replication = explanation.replication === true ? ', for replication' : ''
  const what = `${target.kind} ${shown(target.name)} as "${explanation.principal}"${part}${replication}`
  return `${explanation.allowed ? 'Allowed' : 'Denied'}: ${shown(who)} to ${what}, at ${new Date(explanation.atMs).toISOString()}`
}

function renderFinding(finding: RoleFinding, explanation: Explanation): string {
  const { role, field = '', entry } = finding
  switch (finding.outcome) {
    case 'allows':
      return `${role}: allows it`
    case 'denies':
      return entry === undefined
        ? `${role}: denies it, ${field} matches the target`
        : `${role}: denies it, ${field} has "${entry}"`
    case 'no-match':
      return field === ''
        ? `${role}: does not allow it`
        : `${role}: ${unmatched(field, explanation)}`
    case 'withholds':
      return `${role}: grants no ${plural(explanation)}, as nothing enforces its ${field} yet`
    case 'demands':
      return `${role}: matches, but demands ${field}, which nothing enforces yet`
    case 'refuses':
      return `${role}: refuses all ${plural(explanation)}, as nothing enforces its ${field} yet`
    case 'unknown-version':
      return `${role}: grants nothing, its version is unknown here`
    case 'missing':
      return `${role}: named by the certificate, but the cluster has no such role`
  }
}

function plural({ target }: Explanation): string {
  return target.kind === 'node' ? 'nodes' : 'databases'
}

function unmatched(field: string, explanation: Explanation): string {
  if (field === 'allow.db_users') return `${field} does not match user "${explanation.principal}"`
  if (field === 'allow.logins') return `${field} does not match login "${explanation.principal}"`
  if (field === 'options.db_replication') return `does not set ${field}`
  if (field === 'allow.db_names')
    return `${field} does not match database "${explanation.resource}"`
  return field.endsWith('_expression')
    ? `${field} is not true of the target, or cannot be judged`
    : `${field} does not match the target's labels`
}

function renderChange(change: Change): string {
  switch (change.what) {
    case 'add':
      return change.key === undefined
        ? `role ${change.role}: add "${shown(change.value)}" to spec.${change.field}`
        : `role ${change.role}: add "${shown(change.value)}" to spec.${change.field}, key "${shown(change.key)}"`
    case 'remove':
      return change.entry === undefined
        ? `role ${change.role}: remove spec.${change.field}`
        : `role ${change.role}: remove "${shown(change.entry)}" from spec.${change.field}`
    case 'set':
      return `role ${change.role}: set spec.${change.field} to ${String(change.value)}`
    case 'unset':
      return `role ${change.role}: unset spec.${change.field}`
    case 'drop-key':
      return `role ${change.role}: remove key "${shown(change.key)}" from spec.${change.field}`
    case 'label':
      return `target: set label "${shown(change.key)}" to "${shown(change.value)}"`
    case 'assign':
      return `assign role ${change.role} to the user`
    case 'write-role':
      return 'no role is near: write one that allows the labels and the principal'
  }
}
