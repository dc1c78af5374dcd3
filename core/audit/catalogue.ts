// Every audit event: code, name, meaning, the fields it carries beside the common ones, and who may emit it.
// Names and codes are the reference product's, so that dashboards carry over; codes that begin with SL are ours.
// docs/audit-events.md equals this table (a test keeps it so). A code that was released is never used for anything else.

import type { SystemRole } from '../identity.ts'
import { logRows } from './log-rows.ts'
import { recordingRows } from './recording-rows.ts'
import { sshRows } from './ssh-rows.ts'
import { statementRows } from './statement-rows.ts'

export interface AuditRow {
  readonly name: string
  readonly meaning: string
  readonly fields: readonly string[]
  /** Control takes the event from no other role: an agent cannot say that somebody changed a role. */
  readonly by: readonly SystemRole[]
}

const CONTROL: readonly SystemRole[] = ['control']
const AGENT: readonly SystemRole[] = ['agent']
const EDGE: readonly SystemRole[] = ['agent', 'proxy']
const ALL: readonly SystemRole[] = ['agent', 'control', 'proxy']

/** What identifies who acts; every event with a person behind it has these. */
const PERSON = ['user', 'user_kind', 'user_roles'] as const
const CHANGE = [...PERSON, 'name', 'expires', 'updated_by', 'addr.remote'] as const
const DATABASE = ['db_service', 'db_protocol', 'db_user', 'db_name', 'db_labels'] as const
const NODE = [...CHANGE, 'server_hostname', 'server_addr', 'server_labels'] as const
const SESSION = [
  ...PERSON,
  ...DATABASE,
  'sid',
  'server_id',
  'server_hostname',
  'proxy_id',
  'addr.remote',
  'addr.trusted',
] as const
const CHANGED = [...CHANGE, 'changed'] as const
const CREDENTIAL = [...CHANGE, 'db_service', 'db_user', 'methods'] as const
const ON_NODE = ['target_name', 'login', 'server_labels'] as const
const CONNECTION = [
  ...PERSON,
  ...ON_NODE,
  'server_addr',
  'sid',
  'server_id',
  'server_hostname',
  'proxy_id',
  'forwarded_by',
  'addr.remote',
  'addr.trusted',
] as const
const TIMES = ['session_start', 'session_stop'] as const
const BYTES = ['bytes_from_client', 'bytes_from_target'] as const
const DECISION = ['decision_id', 'decision'] as const
const DECIDED = [...DECISION, 'success', 'error', 'message', 'with_mfa'] as const
const FORWARD = [...SESSION, ...ON_NODE, ...DECIDED, 'certificate_serial', 'forwarded_by'] as const

function row(
  by: readonly SystemRole[],
  name: string,
  meaning: string,
  fields: readonly string[],
): AuditRow {
  return { by, name, meaning, fields }
}

/** The rows by code. */
export const AUDIT_EVENTS: Readonly<Record<string, AuditRow>> = {
  // People and their logins
  T1000I: row(CONTROL, 'user.login', 'A local user logged in.', [
    ...PERSON,
    'success',
    'method',
    'mfa_device',
    'addr.remote',
    'user_agent',
  ]),
  T1000W: row(CONTROL, 'user.login', 'A login of a local user failed.', [
    'user',
    'success',
    'method',
    'error',
    'addr.remote',
    'user_agent',
  ]),
  T1002I: row(CONTROL, 'user.create', 'A user was created.', [...CHANGE, 'roles']),
  T1003I: row(CONTROL, 'user.update', 'A user was changed.', [...CHANGE, 'roles']),
  T1004I: row(CONTROL, 'user.delete', 'A user was deleted.', CHANGE),
  T1005I: row(CONTROL, 'user.password_change', 'A user set a password.', ['user', 'addr.remote']),
  T1006I: row(CONTROL, 'mfa.add', 'A user added a second factor.', [
    'user',
    'mfa_device',
    'addr.remote',
  ]),
  T1006W: row(ALL, 'session.rejected', 'A session was over the user’s limit of sessions.', [
    ...SESSION,
    'reason',
    'max',
    'decision_id',
  ]),
  T1007I: row(CONTROL, 'mfa.delete', 'A second factor was removed.', [
    'user',
    'mfa_device',
    'updated_by',
  ]),
  T6000I: row(CONTROL, 'reset_password_token.create', 'An invite or reset was issued.', [
    ...CHANGE,
    'ttl',
  ]),
  T3007W: row(ALL, 'auth', 'A certificate or token was refused.', [
    'user',
    'user_roles',
    'host_id',
    'role',
    'error',
    'reason',
    'server_id',
    'certificate_serial',
    'addr.remote',
  ]),
  TC000I: row(CONTROL, 'cert.create', 'A certificate was signed.', [
    'cert_type',
    'identity',
    'certificate_serial',
    'certificate_fingerprint',
    'expires',
    'route',
    'updated_by',
    'addr.remote',
  ]),
  TCB00W: row(
    CONTROL,
    'cert.generation_mismatch',
    'A renewal came with an old generation: the identity was copied.',
    ['server_id', 'expected', 'claimed', 'locked', 'addr.remote'],
  ),

  // Machines
  TJT00I: row(CONTROL, 'join_token.create', 'A join token was created.', [
    ...CHANGE,
    'roles',
    'join_method',
  ]),
  TJ002I: row(CONTROL, 'instance.join', 'An agent or proxy joined.', [
    'host_id',
    'node_name',
    'role',
    'method',
    'token_name',
    'addr.remote',
  ]),
  TJ002E: row(CONTROL, 'instance.join', 'A join was refused.', [
    'node_name',
    'role',
    'method',
    'error',
    'addr.remote',
  ]),
  SLT001W: row(
    CONTROL,
    'target.claim_refused',
    'An agent claimed a target name that belongs to another owner.',
    ['server_id', 'target_kind', 'target_name', 'owner', 'reason'],
  ),
  SLT002W: row(
    CONTROL,
    'target.claim_refused',
    'A proxy’s certificate does not carry the host of its public address: it may not, or another owner has it.',
    ['server_id', 'target_name', 'owner', 'reason'],
  ),

  // Configuration
  T9000I: row(CONTROL, 'role.created', 'A role was created.', CHANGE),
  T9001I: row(CONTROL, 'role.deleted', 'A role was deleted.', CHANGE),
  T9002I: row(CONTROL, 'role.updated', 'A role was changed.', CHANGE),
  TLK00I: row(CONTROL, 'lock.created', 'A lock was put in force.', [
    ...CHANGE,
    'target',
    'message',
  ]),
  TLK01I: row(CONTROL, 'lock.deleted', 'A lock was lifted.', [...CHANGE, 'target']),
  TCAUTH001I: row(CONTROL, 'auth_preference.update', 'Login settings were changed.', [
    ...CHANGE,
    'changed',
  ]),
  TCNET002I: row(CONTROL, 'cluster_networking_config.update', 'Network settings were changed.', [
    ...CHANGE,
    'changed',
  ]),
  TCREC003I: row(CONTROL, 'session_recording_config.update', 'Recording settings were changed.', [
    ...CHANGE,
    'changed',
  ]),
  TDB03I: row(CONTROL, 'db.create', 'A database resource was created.', [...CHANGE, ...DATABASE]),
  TDB04I: row(CONTROL, 'db.update', 'A database resource was changed.', [...CHANGE, ...DATABASE]),
  TDB05I: row(CONTROL, 'db.delete', 'A database resource was deleted.', CHANGE),
  SLN001I: row(CONTROL, 'node.create', 'A server without an agent was registered.', NODE),
  SLN002I: row(CONTROL, 'node.update', 'A server without an agent was changed.', NODE),
  SLN003I: row(CONTROL, 'node.delete', 'A node was removed, or its name freed of its agent.', NODE),
  THCC001I: row(CONTROL, 'health_check_config.create', 'A health check was created.', CHANGED),
  THCC002I: row(CONTROL, 'health_check_config.update', 'A health check was changed.', CHANGED),
  THCC003I: row(CONTROL, 'health_check_config.delete', 'A health check was deleted.', CHANGED),
  SLD001I: row(CONTROL, 'db.credential.set', 'A database user’s password was stored.', CREDENTIAL),
  SLD002I: row(CONTROL, 'db.credential.delete', 'A stored password was removed.', CREDENTIAL),
  SLC001I: row(
    CONTROL,
    'token.delete',
    'A join token or another resource without an event of its own was deleted.',
    [...CHANGE, 'kind'],
  ),
  SLC002I: row(
    CONTROL,
    'admin.call',
    'The local super-administrator called control over its unix socket.',
    ['method', 'path', 'uid_local', 'error'],
  ),

  // Decisions and sessions
  SLP001I: row(ALL, 'decision.allow', 'Policy allowed, where no session event says so.', [
    ...SESSION,
    ...DECISION,
  ]),
  SLP001W: row(ALL, 'decision.deny', 'Policy denied, with every role that was considered.', [
    ...SESSION,
    ...DECISION,
    'reason',
    'target_kind',
    'target_name',
    'login',
  ]),
  SLP002I: row(
    CONTROL,
    'permit.create',
    'A proxy may bring a certificate without a route to one target for a while.',
    [
      ...PERSON,
      'target_kind',
      'target_name',
      'server_id',
      'certificate_serial',
      'certificate_fingerprint',
      'expires',
      'decision_id',
      'updated_by',
      'addr.remote',
    ],
  ),
  TDB00I: row(EDGE, 'db.session.start', 'A database session began.', [
    ...SESSION,
    ...DECISION,
    'success',
    'with_mfa',
    'certificate_serial',
  ]),
  TDB00W: row(EDGE, 'db.session.start', 'A database session was denied or failed to begin.', [
    ...SESSION,
    ...DECISION,
    'success',
    'error',
    'message',
  ]),
  TDB01I: row(EDGE, 'db.session.end', 'A database session ended.', [
    ...SESSION,
    'reason',
    ...TIMES,
    ...BYTES,
    'statements',
  ]),
  ...statementRows(SESSION),
  T3006I: row(ALL, 'client.disconnect', 'A session was ended: lock, expiry, idle time or drain.', [
    ...SESSION,
    'reason',
    'lock',
  ]),
  SLR001I: row(['proxy'], 'session.relay', 'A proxy began to relay a session it cannot read.', [
    'sid',
    'decision_id',
    'target_kind',
    'target_name',
    'agent_id',
    'ticket_id',
    'addr.remote',
    'addr.trusted',
  ]),
  SLR002I: row(['proxy'], 'session.relay', 'A relayed session ended.', [
    'sid',
    'agent_id',
    'reason',
    'bytes_from_client',
    'bytes_from_target',
  ]),
  SLR003I: row(AGENT, 'session.forward', 'An agent let in whom a proxy forwarded.', FORWARD),
  SLR003W: row(AGENT, 'session.forward', 'An agent refused whom a proxy forwarded.', FORWARD),
  SLR004I: row(AGENT, 'session.forward', 'A forwarded session ended at its agent.', [
    ...SESSION,
    ...ON_NODE,
    'reason',
    ...TIMES,
    ...BYTES,
    'forwarded_by',
  ]),

  SLR005I: row(
    ['agent'],
    'db.session.cancel',
    'A client asked for a session’s statement to be cancelled, with its key; the database was told.',
    [...SESSION, 'cancelled_from', 'count', 'success', 'error'],
  ),
  SLR005W: row(
    EDGE,
    'db.session.cancel',
    'A source sent so many cancel requests with keys of no session that it is not heard for a minute.',
    ['addr.remote', 'success', 'reason'],
  ),

  SLR006I: row(
    EDGE,
    'ssh.connection',
    'Somebody was let in over SSH; what they do is told apart.',
    [...CONNECTION, ...DECIDED, 'certificate_serial'],
  ),
  SLR006W: row(EDGE, 'ssh.connection', 'An SSH login was refused, or asked for nothing.', [
    ...CONNECTION,
    ...DECIDED,
    'certificate_serial',
  ]),
  SLR007I: row(EDGE, 'ssh.connection', 'An SSH connection ended.', [
    ...CONNECTION,
    'reason',
    ...TIMES,
    ...BYTES,
  ]),

  // Tunnels, snapshots, strangers
  SLL001I: row(['proxy'], 'link.start', 'An agent linked to a proxy.', [
    'agent_id',
    'version',
    'services',
    'addr.remote',
  ]),
  SLL002I: row(['proxy'], 'link.end', 'The link of an agent ended.', ['agent_id', 'reason']),
  SLL001W: row(EDGE, 'link.refused', 'A peer was refused on a link.', [
    'agent_id',
    'proxy_id',
    'reason',
    'certificate_serial',
    'addr.remote',
  ]),
  SLL002W: row(
    EDGE,
    'spare.refused',
    'A spare, open frame or accept frame was forged, replayed or malformed.',
    ['agent_id', 'proxy_id', 'spare_id', 'reason', 'addr.remote'],
  ),
  SLS001E: row(EDGE, 'snapshot.refused', 'A snapshot, lock set or beacon was forged.', [
    'proxy_id',
    'kind',
    'revision',
    'reason',
  ]),
  SLS002E: row(EDGE, 'snapshot.refused', 'A snapshot, lock set or beacon was rolled back.', [
    'proxy_id',
    'kind',
    'revision',
    'known_revision',
  ]),
  SLS003W: row(EDGE, 'snapshot.stale', 'No beacon of control came within the staleness bound.', [
    'silent_ms',
    'locking_mode',
  ]),
  SLN001W: row(ALL, 'strangers.summary', 'What one source did in a minute without an identity.', [
    'addr.remote',
    'since',
    'connections',
    'by_reason',
  ]),

  ...sshRows(PERSON),
  ...recordingRows(PERSON),
  ...logRows(),
  SLX000W: row(ALL, 'unknown', 'An event this version has no row for.', [
    'claimed_event',
    'claimed_code',
  ]),
}

/** What stands for an event that has no row. */
export const UNKNOWN_CODE = 'SLX000W'

export function auditRow(code: string): AuditRow | undefined {
  return Object.hasOwn(AUDIT_EVENTS, code) ? AUDIT_EVENTS[code] : undefined
}
