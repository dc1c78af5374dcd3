// The resource `role`: schema v3 to v9, what it comes to for the policy engine, and what its author should be told.

import { z } from 'zod'

import { ROLE_VERSIONS } from '../../core/policy/compile.ts'
import { roleNameProblem } from '../../core/policy/names.ts'
import type {
  DatabaseRule,
  NodeRule,
  ResourceRule,
  Role,
  RoleOptions,
  RoleSide,
  SshOptions,
  Unenforced,
} from '../../core/policy/role.ts'
import { isTemplate } from '../../core/policy/template.ts'
import { isLogin } from '../../core/ssh/principal.ts'
import { parseDuration } from './duration.ts'
import type { Envelope } from './field.ts'
import { envelope } from './field.ts'
import { isKnownKind } from './rule-kinds.ts'
import type { RoleConditionsSpec, RuleSpec } from './role-conditions.ts'
import { roleConditions } from './role-conditions.ts'
import type { RoleOptionsSpec } from './role-options.ts'
import { roleOptions } from './role-options.ts'
import { unenforcedFields } from './role-unenforced.ts'

export interface RoleSpec {
  readonly options?: RoleOptionsSpec
  readonly allow?: RoleConditionsSpec
  readonly deny?: RoleConditionsSpec
}

export type RoleResource = Envelope<'role', RoleSpec>

export const roleSchema: z.ZodType<RoleResource> = envelope(
  'role',
  ROLE_VERSIONS,
  roleNameProblem,
  z.strictObject({
    options: z.exactOptional(roleOptions),
    allow: z.exactOptional(roleConditions),
    deny: z.exactOptional(roleConditions),
  }),
)

/** The role as snapshots carry it. */
export function compileRole(resource: RoleResource): Role {
  const { options = {}, allow = {}, deny = {} } = resource.spec
  return {
    name: resource.metadata.name,
    version: resource.version,
    options: compileOptions(options),
    allow: withDefaultLabels(resource.version, side(allow)),
    deny: side(deny),
    unenforced: unenforcedFields({ options, allow, deny }),
  }
}

export function roleColumns(): readonly string[] {
  return ['Role', 'Version', 'Logins', 'Databases as', 'Rules', 'Description']
}

export function roleRow(resource: RoleResource): readonly string[] {
  const { allow = {} } = resource.spec
  return [
    resource.metadata.name,
    resource.version,
    (allow.logins ?? []).join(', '),
    (allow.db_users ?? []).join(', '),
    (allow.rules ?? [])
      .map(({ resources, verbs }) => `${resources.join(',')}: ${verbs.join(',')}`)
      .join('; '),
    resource.metadata.description ?? '',
  ]
}

/** What is stored but does not do what its author may expect; shown by `tctl create`. */
export function roleWarnings(resource: RoleResource): readonly string[] {
  const { allow = {}, deny = {} } = resource.spec
  const warnings = compileRole(resource).unenforced.map(unenforcedWarning)
  for (const [name, conditions] of Object.entries({ allow, deny })) {
    warnings.push(...ruleWarnings(name, conditions.rules ?? []))
    for (const field of ['impersonate', 'request', 'review_requests'] as const)
      if (conditions[field] !== undefined)
        warnings.push(`spec.${name}.${field} has no effect yet: nothing here grants it`)
    warnings.push(...textWarnings(name, conditions))
  }
  warnings.push(...loginWarnings(allow.logins ?? []))
  return warnings
}

const EFFECT_WORDS: Readonly<Record<Unenforced['effect'], string>> = {
  withholds: 'this role grants nothing of',
  demands: 'sessions this role matches are refused, for',
  refuses: 'whoever holds this role is refused, for',
}

function unenforcedWarning({ field, kinds, effect }: Unenforced): string {
  return `spec.${field} is not enforced yet, so ${EFFECT_WORDS[effect]} ${kinds.join(', ')}`
}

function ruleWarnings(name: string, rules: readonly RuleSpec[]): readonly string[] {
  return rules.flatMap((rule, i) => {
    const field = `spec.${name}.rules[${String(i)}]`
    const unknown = rule.resources.filter((kind) => !isKnownKind(kind))
    const out = unknown.map((kind) => `${field} names the kind "${kind}", which does not exist`)
    if (rule.where !== undefined) {
      const effect = name === 'allow' ? 'the rule grants nothing' : 'the rule denies always'
      out.push(`${field}.where is not enforced yet, so ${effect}`)
    }
    return rule.actions === undefined ? out : [...out, `${field}.actions has no effect`]
  })
}

/** What looks like a pattern around a template is matched as text. */
function textWarnings(name: string, conditions: RoleConditionsSpec): readonly string[] {
  const { logins = [], db_users = [], db_names = [] } = conditions
  const fields = { logins, db_users, db_names }
  return Object.entries(fields).flatMap(([field, entries]) =>
    entries
      .filter((entry) => /^\^.*\{\{.*\}\}.*\$$|\*.*\{\{.*\}\}|\{\{.*\}\}.*\*/.test(entry))
      .map(
        (entry) => `spec.${name}.${field}: "${entry}" holds a template, so it is matched as text`,
      ),
  )
}

/** Certificates name logins one by one, so that what a role means by a pattern nobody can show. */
function loginWarnings(logins: readonly string[]): readonly string[] {
  return logins
    .filter((login) => !isTemplate(login) && !isLogin(login))
    .map((login) => `spec.allow.logins: "${login}" is no login that a certificate can name`)
}

function compileOptions(spec: RoleOptionsSpec): RoleOptions {
  const maxSessionTtlMs = parseDuration(spec.max_session_ttl ?? '') ?? 0
  const clientIdleTimeoutMs = parseDuration(spec.client_idle_timeout ?? '') ?? 0
  const connections = spec.max_connections ?? 0
  return {
    ...(maxSessionTtlMs === 0 ? {} : { maxSessionTtlMs }),
    ...(clientIdleTimeoutMs === 0 ? {} : { clientIdleTimeoutMs }),
    ...(connections === 0 ? {} : { maxConnections: connections }),
    ...(spec.disconnect_expired_cert === true ? { disconnectExpiredCert: true } : {}),
    ...(spec.db_replication === true ? { dbReplication: true } : {}),
    ...(spec.lock === 'strict' || spec.lock === 'best_effort' ? { lock: spec.lock } : {}),
    ...recordSession(spec.record_session?.default),
    ...sshOptions(spec),
  }
}

function sshOptions(spec: RoleOptionsSpec): Pick<RoleOptions, 'ssh'> {
  const { local, remote } = spec.ssh_port_forwarding ?? {}
  const sessions = spec.max_sessions ?? 0
  const ssh: SshOptions = {
    ...(spec.forward_agent === true ? { forwardAgent: true } : {}),
    ...(spec.permit_x11_forwarding === true ? { x11: true } : {}),
    ...(spec.ssh_file_copy === false ? { fileCopy: false } : {}),
    ...(spec.port_forwarding === undefined ? {} : { portForwarding: spec.port_forwarding }),
    ...(local?.enabled === undefined ? {} : { localForwarding: local.enabled }),
    ...(remote?.enabled === undefined ? {} : { remoteForwarding: remote.enabled }),
    ...(sessions === 0 ? {} : { maxSessions: sessions }),
    ...recordSession(spec.record_session?.ssh),
  }
  return Object.keys(ssh).length === 0 ? {} : { ssh }
}

function recordSession(mode: string | undefined): Pick<RoleOptions, 'recordSession'> {
  return mode === 'strict' || mode === 'best_effort' ? { recordSession: mode } : {}
}

function side(conditions: RoleConditionsSpec): RoleSide {
  const db = databaseRule(conditions)
  const node = nodeRule(conditions)
  return {
    ...(db === undefined ? {} : { db }),
    ...(node === undefined ? {} : { node }),
    rules: (conditions.rules ?? []).map(resourceRule),
  }
}

function nodeRule(conditions: RoleConditionsSpec): NodeRule | undefined {
  const { node_labels: labels = {}, logins = [] } = conditions
  const expression = labelsExpression(conditions.node_labels_expression)
  const empty = Object.keys({ ...labels, ...expression }).length === 0 && logins.length === 0
  return empty ? undefined : { labels, ...expression, logins }
}

function databaseRule(conditions: RoleConditionsSpec): DatabaseRule | undefined {
  const { db_labels: labels = {}, db_users: users = [], db_names: names = [] } = conditions
  const expression = labelsExpression(conditions.db_labels_expression)
  const selects = Object.keys({ ...labels, ...expression }).length > 0
  const empty = !selects && users.length === 0 && names.length === 0
  return empty ? undefined : { labels, ...expression, users, names }
}

function labelsExpression(source = ''): Pick<NodeRule, 'labelsExpression'> {
  return source === '' ? {} : { labelsExpression: source }
}

/** v3 reads missing labels as all labels; v4 and later as none. */
function withDefaultLabels(version: string, allow: RoleSide): RoleSide {
  if (version !== 'v3') return allow
  const { db, node, rules } = allow
  return {
    ...(db === undefined ? {} : { db: labelled(db) }),
    ...(node === undefined ? {} : { node: labelled(node) }),
    rules,
  }
}

function labelled<T extends DatabaseRule | NodeRule>(rule: T): T {
  return Object.keys(rule.labels).length === 0 ? { ...rule, labels: { '*': ['*'] } } : rule
}

function resourceRule({ resources, verbs, where }: RuleSpec): ResourceRule {
  return where === undefined ? { resources, verbs } : { resources, verbs, where }
}
