// `spec.allow` and `spec.deny` of a role: every field of the reference product. Both sides have the same fields. Patterns and
// templates of databases and nodes are compiled here once, so that one that cannot be read is refused with its line.

import { z } from 'zod'

import { compileLabels, compilePattern } from '../../core/policy/match.ts'
import { RESOURCE_VERBS } from '../../core/policy/rights.ts'
import { compileLabelExpression } from '../../core/predicate/label-expression.ts'
import { problemText } from '../../core/predicate/problem.ts'
import { count, duration, labelMatch, text, texts, yesNo } from './field.ts'

type LabelMap = Readonly<Record<string, readonly string[]>>

export interface RuleSpec {
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
  readonly where?: string
  readonly actions?: readonly string[]
}

/** The fields that something here reads; the others are checked and kept. */
export interface RoleConditionsSpec {
  readonly node_labels?: LabelMap
  readonly node_labels_expression?: string
  readonly logins?: readonly string[]
  readonly require_session_join?: readonly unknown[]
  readonly db_labels?: LabelMap
  readonly db_labels_expression?: string
  readonly db_users?: readonly string[]
  readonly db_names?: readonly string[]
  readonly db_roles?: readonly string[]
  readonly db_permissions?: readonly unknown[]
  readonly db_service_labels?: LabelMap
  readonly db_service_labels_expression?: string
  readonly impersonate?: object
  readonly request?: object
  readonly review_requests?: object
  readonly rules?: readonly RuleSpec[]
}

/** Principals or names: each must be readable as what it means to be. */
const patterns = texts.superRefine((entries, context) => {
  entries.forEach((entry, i) => {
    const pattern = compilePattern(entry)
    if (pattern.kind === 'broken')
      context.addIssue({ code: 'custom', path: [i], message: `"${entry}": ${pattern.problem}` })
  })
})

const patternLabels = labelMatch.superRefine((map, context) => {
  for (const [key, values] of Object.entries(map)) {
    const { broken, rules } = compileLabels({ [key]: values })
    if (broken) {
      const message =
        key === '*' ? 'the key "*" only goes with the value "*"' : 'a key is text, never a template'
      context.addIssue({ code: 'custom', path: [key], message })
    }
    for (const value of rules.flatMap((rule) => rule.values))
      if (value.kind === 'broken')
        context.addIssue({
          code: 'custom',
          path: [key],
          message: `"${value.source}": ${value.problem}`,
        })
  }
})

/** An empty one is not set. */
const labelExpression = text.superRefine((source, context) => {
  const compiled = source === '' ? undefined : compileLabelExpression(source)
  if (compiled !== undefined && 'problem' in compiled)
    context.addIssue({ code: 'custom', message: problemText(compiled) })
})

const kubernetesResource = z.strictObject({
  kind: text,
  api_group: z.exactOptional(text),
  namespace: z.exactOptional(text),
  name: z.exactOptional(text),
  verbs: z.exactOptional(texts),
})

const databasePermission = z.strictObject({ match: labelMatch, permissions: texts })

const rule = z.strictObject({
  resources: texts.refine((list) => list.length > 0, 'a rule names at least one kind'),
  verbs: z.array(z.enum([...RESOURCE_VERBS, '*'])).min(1, 'a rule names at least one verb'),
  where: z.exactOptional(z.string().min(1).max(4096)),
  actions: z.exactOptional(texts),
})

const claimsToRoles = z.array(z.strictObject({ claim: text, value: text, roles: texts }))

const threshold = z.strictObject({
  name: z.exactOptional(text),
  approve: z.exactOptional(count),
  deny: z.exactOptional(count),
  filter: z.exactOptional(text),
})

const request = z.strictObject({
  roles: z.exactOptional(texts),
  claims_to_roles: z.exactOptional(claimsToRoles),
  search_as_roles: z.exactOptional(texts),
  kubernetes_resources: z.exactOptional(z.array(kubernetesResource.partial())),
  thresholds: z.exactOptional(z.array(threshold)),
  suggested_reviewers: z.exactOptional(texts),
  annotations: z.exactOptional(labelMatch),
  max_duration: z.exactOptional(duration),
  reason: z.exactOptional(
    z.strictObject({
      mode: z.exactOptional(z.enum(['required', 'optional', ''])),
      prompt: z.exactOptional(text),
    }),
  ),
})

const reviewRequests = z.strictObject({
  roles: z.exactOptional(texts),
  claims_to_roles: z.exactOptional(claimsToRoles),
  preview_as_roles: z.exactOptional(texts),
  where: z.exactOptional(text),
  submit_for_users: z.exactOptional(texts),
})

const joinSessions = z.array(
  z.strictObject({
    name: text,
    roles: z.exactOptional(texts),
    kinds: z.exactOptional(texts),
    modes: z.exactOptional(z.array(z.enum(['peer', 'moderator', 'observer', '*']))),
  }),
)

const requireSessionJoin = z.array(
  z.strictObject({
    name: text,
    filter: z.exactOptional(text),
    kinds: z.exactOptional(texts),
    modes: z.exactOptional(z.array(z.enum(['peer', 'moderator', 'observer', '*']))),
    count: z.exactOptional(count),
    on_leave: z.exactOptional(z.enum(['terminate', 'pause', ''])),
  }),
)

const databases = {
  db_labels: z.exactOptional(patternLabels),
  db_labels_expression: z.exactOptional(labelExpression),
  db_users: z.exactOptional(patterns),
  db_names: z.exactOptional(patterns),
  db_roles: z.exactOptional(patterns),
  db_permissions: z.exactOptional(z.array(databasePermission)),
  db_service_labels: z.exactOptional(patternLabels),
  db_service_labels_expression: z.exactOptional(text),
}

const hosts = {
  logins: z.exactOptional(patterns),
  node_labels: z.exactOptional(patternLabels),
  node_labels_expression: z.exactOptional(labelExpression),
  host_groups: z.exactOptional(texts),
  host_sudoers: z.exactOptional(texts),
  windows_desktop_labels: z.exactOptional(labelMatch),
  windows_desktop_labels_expression: z.exactOptional(text),
  windows_desktop_logins: z.exactOptional(texts),
  desktop_groups: z.exactOptional(texts),
  linux_desktop_labels: z.exactOptional(labelMatch),
  linux_desktop_labels_expression: z.exactOptional(text),
  linux_desktop_logins: z.exactOptional(texts),
}

const clusters = {
  kubernetes_labels: z.exactOptional(labelMatch),
  kubernetes_labels_expression: z.exactOptional(text),
  kubernetes_groups: z.exactOptional(texts),
  kubernetes_users: z.exactOptional(texts),
  kubernetes_resources: z.exactOptional(z.array(kubernetesResource)),
  cluster_labels: z.exactOptional(labelMatch),
  cluster_labels_expression: z.exactOptional(text),
}

const apps = {
  app_labels: z.exactOptional(labelMatch),
  app_labels_expression: z.exactOptional(text),
  app_resources: z.exactOptional(z.array(z.strictObject({ allow_all: yesNo }))),
  aws_role_arns: z.exactOptional(texts),
  azure_identities: z.exactOptional(texts),
  gcp_service_accounts: z.exactOptional(texts),
  mcp: z.exactOptional(z.strictObject({ tools: z.exactOptional(texts) })),
  group_labels: z.exactOptional(labelMatch),
  group_labels_expression: z.exactOptional(text),
  account_assignments: z.exactOptional(
    z.array(z.strictObject({ account: text, permission_set: text })),
  ),
  github_permissions: z.exactOptional(z.array(z.strictObject({ orgs: texts }))),
}

const workloads = {
  workload_identity_labels: z.exactOptional(labelMatch),
  workload_identity_labels_expression: z.exactOptional(text),
  spiffe: z.exactOptional(
    z.array(
      z.strictObject({
        path: text,
        dns_sans: z.exactOptional(texts),
        ip_sans: z.exactOptional(texts),
      }),
    ),
  ),
  beam_labels: z.exactOptional(labelMatch),
}

export const roleConditions: z.ZodType<RoleConditionsSpec> = z.strictObject({
  namespaces: z.exactOptional(z.array(z.enum(['default', '*']))),
  ...databases,
  ...hosts,
  ...clusters,
  ...apps,
  ...workloads,
  join_sessions: z.exactOptional(joinSessions),
  require_session_join: z.exactOptional(requireSessionJoin),
  request: z.exactOptional(request),
  review_requests: z.exactOptional(reviewRequests),
  impersonate: z.exactOptional(
    z.strictObject({
      users: z.exactOptional(texts),
      roles: z.exactOptional(texts),
      where: z.exactOptional(text),
    }),
  ),
  rules: z.exactOptional(z.array(rule)),
})
