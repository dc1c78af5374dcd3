// What the options of several roles come to. Session options are those of the roles that granted the session, so that a role
// which has nothing to do with it cannot spoil it; the lifetime of a login and the lock mode are those of all roles held.

import type { UserIdentity } from '../identity.ts'
import type { Grant, SshGrant } from '../protocol.ts'
import type { ClusterConfig } from '../snapshot.ts'
import type { CompiledRole, CompiledRoles, ServedKind } from './compile.ts'
import type { RoleOptions, SshOptions } from './role.ts'

export interface MergedOptions {
  readonly grant: Grant
  readonly disconnectExpiredCert: boolean
}

/** Shortest idle time, fewest connections, any wish to end with the certificate or with the log; `strict` of any role held. */
export function mergeOptions(
  granting: readonly CompiledRole[],
  kind: ServedKind,
  lockMode: Grant['lockMode'],
): MergedOptions {
  let idleMsMax = 0
  let connectionsMax = 0
  let disconnectExpiredCert = false
  let recordingMode: Grant['recordingMode'] = 'best_effort'
  for (const { role } of granting) {
    idleMsMax = lower(idleMsMax, role.options.clientIdleTimeoutMs)
    connectionsMax = lower(connectionsMax, role.options.maxConnections)
    if (recordingOf(role.options, kind) === 'strict') recordingMode = 'strict'
    disconnectExpiredCert ||= role.options.disconnectExpiredCert === true
  }
  const roles = granting.map(({ role }) => role.name).sort()
  const grant = { roles, idleMsMax, connectionsMax, lockMode, recordingMode }
  const ssh = kind === 'node' ? { ssh: sshGrant(granting) } : {}
  return { grant: { ...grant, ...ssh }, disconnectExpiredCert }
}

/**
 * Agent and X11 forwarding when one of the roles allows it; a port either way unless one says no by name, and the old option counts
 * only where its role does not use the new one; files unless one says no; the fewest channels.
 */
function sshGrant(granting: readonly CompiledRole[]): SshGrant {
  const all = granting.map(({ role }) => role.options.ssh ?? {})
  let sessionsMax = 0
  for (const { maxSessions } of all) sessionsMax = lower(sessionsMax, maxSessions)
  return {
    forwardAgent: all.some(({ forwardAgent }) => forwardAgent === true),
    localForwarding: forwards(all, 'localForwarding'),
    remoteForwarding: forwards(all, 'remoteForwarding'),
    x11: all.some(({ x11 }) => x11 === true),
    fileCopy: all.every(({ fileCopy }) => fileCopy !== false),
    sessionsMax,
  }
}

function forwards(
  all: readonly SshOptions[],
  direction: 'localForwarding' | 'remoteForwarding',
): boolean {
  if (all.some((each) => each[direction] === false)) return false
  return all.some((each) => each[direction] ?? each.portForwarding ?? true)
}

function recordingOf(options: RoleOptions, kind: ServedKind): RoleOptions['recordSession'] {
  return (kind === 'node' ? options.ssh?.recordSession : undefined) ?? options.recordSession
}

/** The same, with what the cluster sets for everybody: the shorter and the stricter hold. */
export function withCluster(merged: MergedOptions, config: ClusterConfig): MergedOptions {
  const { grant } = merged
  return {
    grant: {
      ...grant,
      idleMsMax: lower(grant.idleMsMax, config.clientIdleTimeoutMs),
      ...(config.clientIdleTimeoutMessage === undefined
        ? {}
        : { idleMessage: config.clientIdleTimeoutMessage }),
      lockMode: config.lockingMode === 'strict' ? 'strict' : grant.lockMode,
    },
    disconnectExpiredCert: merged.disconnectExpiredCert || config.disconnectExpiredCert,
  }
}

/** What one of the roles held would permit somewhere: the bound that a certificate sets. Each session is decided by itself. */
export function sshMost(identity: UserIdentity, roles: CompiledRoles): SshGrant {
  const each = identity.roles.flatMap((name) => {
    const role = roles.get(name)
    return role?.kinds.node.allow === undefined ? [] : [sshGrant([role])]
  })
  return {
    forwardAgent: each.some(({ forwardAgent }) => forwardAgent),
    localForwarding: each.some(({ localForwarding }) => localForwarding),
    remoteForwarding: each.some(({ remoteForwarding }) => remoteForwarding),
    x11: each.some(({ x11 }) => x11),
    fileCopy: each.some(({ fileCopy }) => fileCopy),
    sessionsMax: 0,
  }
}

/** `strict` anywhere wins: a role held, whether it grants the session or not. */
export function lockModeOf(identity: UserIdentity, roles: CompiledRoles): Grant['lockMode'] {
  for (const name of identity.roles)
    if (roles.get(name)?.role.options.lock === 'strict') return 'strict'
  return 'best_effort'
}

/** How long a login may last: the shortest of the roles that say it; undefined when none does. */
export function sessionTtlMs(
  roleNames: readonly string[],
  roles: CompiledRoles,
): number | undefined {
  let ttlMs = 0
  for (const name of roleNames) ttlMs = lower(ttlMs, roles.get(name)?.role.options.maxSessionTtlMs)
  return ttlMs === 0 ? undefined : ttlMs
}

/** 0 and undefined mean no limit. */
function lower(a: number, b: number | undefined): number {
  if (b === undefined || b === 0) return a
  return a === 0 ? b : Math.min(a, b)
}
