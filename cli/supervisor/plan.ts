// From sluice.yaml to processes: which roles run on this machine, what they listen on, under which uid. Pure.

import type { ConfigFile } from '../../control/config.ts'
import { splitAddress } from './listeners.ts'
import type { ConfinedRole, Role } from './messages.ts'
import type { RolePlan } from './supervisor.ts'

/** Uids of the roles when the supervisor is root and the configuration names none: above those distributions hand out. */
export const DEFAULT_UIDS: Readonly<Record<ConfinedRole, number>> = {
  signer: 61_101,
  control: 61_102,
  proxy: 61_103,
  agent: 61_104,
}

/** Roles in the order they start: each needs the ones before it. */
export function planRoles(config: ConfigFile, root: boolean): readonly RolePlan[] {
  const {
    auth_service: auth,
    proxy_service: proxy,
    db_service: db,
    ssh_service: ssh,
    sluice,
  } = config
  const roles: Role[] = []
  if (auth.enabled) roles.push('signer', 'control')
  if (proxy.enabled) roles.push('proxy')
  if (ssh.enabled) roles.push('launcher')
  if (db.enabled || ssh.enabled) roles.push('agent')
  const hasToken = sluice.auth_token !== undefined || sluice.join_params !== undefined
  return roles.map((role) => {
    return {
      role,
      listeners: { ...ownListeners(config, role), ...diagnostics(config, roles, role) },
      joinsLocally: auth.enabled && !hasToken && (role === 'proxy' || role === 'agent'),
      ...(root && role !== 'launcher' ? idsOf(config, role) : {}),
    }
  })
}

function idsOf(config: ConfigFile, role: ConfinedRole): { uid: number; gid: number } {
  const uid = uidOf(config, role)
  return { uid, gid: uid }
}

/** Its uid, and its group of the same number, where the supervisor is root. */
export function uidOf({ sluice }: ConfigFile, role: ConfinedRole): number {
  return sluice.run_as?.[role] ?? DEFAULT_UIDS[role]
}

function ownListeners(config: ConfigFile, role: Role): Readonly<Record<string, string>> {
  if (role === 'control') return { api: config.auth_service.listen_addr }
  if (role === 'proxy') return { public: config.proxy_service.web_listen_addr }
  return {}
}

/** `diag_addr` belongs to the first role that has diagnostics; each further one takes the next port. */
function diagnostics(
  config: ConfigFile,
  roles: readonly Role[],
  role: Role,
): Readonly<Record<string, string>> {
  const { diag_addr: address } = config.sluice
  const diagnosed: readonly Role[] = roles.filter(
    (each) => each !== 'signer' && each !== 'launcher',
  )
  const at = diagnosed.indexOf(role)
  if (address === undefined || at < 0) return {}
  const { port } = splitAddress(address)
  return { diag: address.replace(/\d+$/, String(port === 0 ? 0 : port + at)) }
}
