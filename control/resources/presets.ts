// The roles every cluster begins with; people may edit them. Fields that nothing enforces yet are left out, as they would make
// a preset grant nothing; they come with the service that enforces them. Unlike in the reference product, `access` does not read
// the audit log: it holds the full reasons of everybody's decisions, which are for auditors.

import type { RoleConditionsSpec, RuleSpec } from './role-conditions.ts'
import type { RoleOptionsSpec } from './role-options.ts'
import type { RoleResource } from './role.ts'

/** `access`, `editor`, `auditor`. */
export function presetRoles(): readonly RoleResource[] {
  return [
    preset(
      'access',
      "Reach every resource as the principals of the user's traits",
      {
        node_labels: { '*': ['*'] },
        logins: ['{{internal.logins}}'],
        db_labels: { '*': ['*'] },
        db_users: ['{{internal.db_users}}'],
        db_names: ['{{internal.db_names}}'],
        rules: [rule(['instance', 'cluster_maintenance_config'], ['list', 'read'])],
      },
      { forward_agent: true },
    ),
    preset('editor', 'Change the configuration of the cluster', {
      rules: [
        rule(EDITED, ['list', 'create', 'read', 'update', 'delete']),
        rule(['cert_authority'], ['list', 'read']),
        rule(['database_certificate'], ['create']),
        rule(['cluster_name', 'instance', 'db_service', 'db_server'], ['list', 'read']),
        rule(['host_cert'], ['create']),
      ],
    }),
    preset('auditor', 'Read the audit log and the recordings', {
      rules: [
        rule(['event', 'session', 'session_tracker'], ['list', 'read']),
        rule(['cluster_alert', 'instance', 'bot_instance', 'cluster_name'], ['list', 'read']),
      ],
    }),
  ]
}

/** Kinds an editor keeps, of those that exist here. */
const EDITED = [
  'user',
  'role',
  'token',
  'lock',
  'db',
  'node',
  'cluster_auth_preference',
  'cluster_networking_config',
  'session_recording_config',
] as const

function preset(
  name: string,
  description: string,
  allow: RoleConditionsSpec,
  options: RoleOptionsSpec = {},
): RoleResource {
  return {
    kind: 'role',
    version: 'v7',
    metadata: { name, description },
    spec: { options: { max_session_ttl: '30h', ...options }, allow, deny: {} },
  }
}

function rule(resources: readonly string[], verbs: readonly string[]): RuleSpec {
  return { resources, verbs }
}
