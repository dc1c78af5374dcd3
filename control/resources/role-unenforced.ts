// Fields of a role that govern access and that nothing enforces yet. A policy that is read and then ignored is worse than one
// that is refused, so each of them takes something away until it is built; core/policy/role.ts says what the effects mean.
// A value that means "off" is not set. Fields of kinds without a service are inert and not listed.

import { TARGET_KINDS } from '../../core/identity.ts'
import type { Unenforced } from '../../core/policy/role.ts'
import type { RoleConditionsSpec } from './role-conditions.ts'
import type { RoleOptionsSpec } from './role-options.ts'

interface Sides {
  readonly options: RoleOptionsSpec
  readonly allow: RoleConditionsSpec
  readonly deny: RoleConditionsSpec
}

interface Row extends Unenforced {
  readonly isSet: (role: Sides) => boolean
}

const DATABASES = ['db'] as const
const NODES = ['node'] as const
const EVERYTHING = [...TARGET_KINDS, 'rules'] as const

const ROWS: readonly Row[] = [
  // Conditions on every session the role matches: ignoring one would let a session in without it.
  {
    field: 'options.require_session_mfa',
    kinds: TARGET_KINDS,
    effect: 'demands',
    isSet: ({ options }) => options.require_session_mfa === true,
  },
  {
    field: 'options.device_trust_mode',
    kinds: TARGET_KINDS,
    effect: 'demands',
    isSet: ({ options }) => options.device_trust_mode?.startsWith('required') === true,
  },
  // Conditions on all certificates of whoever holds the role, whichever role grants.
  {
    field: 'options.require_session_mfa',
    kinds: EVERYTHING,
    effect: 'refuses',
    isSet: ({ options }) => typeof options.require_session_mfa === 'string',
  },
  {
    field: 'options.pin_source_ip',
    kinds: EVERYTHING,
    effect: 'refuses',
    isSet: ({ options }) => options.pin_source_ip === true,
  },
  {
    field: 'options.request_access',
    kinds: EVERYTHING,
    effect: 'refuses',
    isSet: ({ options }) => ['reason', 'always'].includes(options.request_access ?? ''),
  },
  // What narrows or shapes this role's own grant.
  {
    field: 'options.create_db_user',
    kinds: DATABASES,
    effect: 'withholds',
    isSet: ({ options }) => options.create_db_user === true,
  },
  {
    field: 'options.create_db_user_mode',
    kinds: DATABASES,
    effect: 'withholds',
    isSet: ({ options }) => !['off', ''].includes(options.create_db_user_mode ?? ''),
  },
  {
    field: 'options.create_host_user',
    kinds: NODES,
    effect: 'withholds',
    isSet: ({ options }) => options.create_host_user === true,
  },
  {
    field: 'options.create_host_user_mode',
    kinds: NODES,
    effect: 'withholds',
    isSet: ({ options }) => !['off', ''].includes(options.create_host_user_mode ?? ''),
  },
  // It binds all sessions of whoever holds the role, whichever role grants them.
  {
    field: 'allow.require_session_join',
    kinds: NODES,
    effect: 'refuses',
    isSet: ({ allow }) => (allow.require_session_join ?? []).length > 0,
  },
  ...(['allow', 'deny'] as const).flatMap((side): readonly Row[] => [
    {
      field: `${side}.db_roles`,
      kinds: DATABASES,
      effect: 'withholds',
      isSet: (role) => (role[side].db_roles ?? []).length > 0,
    },
    {
      field: `${side}.db_permissions`,
      kinds: DATABASES,
      effect: 'withholds',
      isSet: (role) => (role[side].db_permissions ?? []).length > 0,
    },
    {
      field: `${side}.db_service_labels`,
      kinds: DATABASES,
      effect: 'withholds',
      isSet: (role) => narrows(role[side].db_service_labels, side),
    },
    {
      field: `${side}.db_service_labels_expression`,
      kinds: DATABASES,
      effect: 'withholds',
      isSet: (role) => isText(role[side].db_service_labels_expression),
    },
  ]),
]

/** What of a role nothing enforces, in the order of the table. */
export function unenforcedFields(role: Sides): readonly Unenforced[] {
  return ROWS.filter((row) => row.isSet(role)).map(({ field, kinds, effect }) => ({
    field,
    kinds,
    effect,
  }))
}

function isText(value: string | undefined): boolean {
  return value !== undefined && value !== ''
}

/** All services, which is what presets of the reference product write, narrows nothing when it is allowed. */
function narrows(
  labels: Readonly<Record<string, readonly string[]>> | undefined,
  side: 'allow' | 'deny',
): boolean {
  const keys = Object.keys(labels ?? {})
  const all = keys.length === 1 && labels?.['*']?.includes('*') === true
  return keys.length > 0 && !(side === 'allow' && all)
}
