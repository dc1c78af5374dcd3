// Locks and generations: who is shut out at once, whatever certificate they hold. All fields a lock names must match.
// Locks are few or many thousand (a revoked key each), so they are found by what they name, not by a scan.

import type { TargetKind, UserIdentity } from '../identity.ts'
import type { LockSet } from '../snapshot.ts'
import { foldName } from './names.ts'
import type { Lock, LockTarget } from './role.ts'

/** What is known of whoever wants something; what is absent matches no lock on it. */
export interface LockSubject {
  readonly user?: string
  readonly roles?: readonly string[]
  /** Ids of hosts that take part: the peer itself, the agent, the proxy. */
  readonly serverIds?: readonly string[]
  readonly db?: string
  /** Name of a node, and ids of hosts that serve it. */
  readonly node?: readonly string[]
  /** Lower-case hexadecimal. */
  readonly certificateSerial?: string
  readonly keySha256?: string
  readonly login?: string
  readonly mfaDevice?: string
}

/** The first lock in force that matches. */
export function matchLock(lockSet: LockSet, subject: LockSubject, nowMs: number): Lock | undefined {
  if (lockSet.locks.length === 0) return undefined
  const index = indexOf(lockSet)
  for (const field of LOCK_FIELDS)
    for (const value of subjectValues(subject, field))
      for (const lock of index.get(`${field}:${value}`) ?? [])
        if (inForce(lock, nowMs) && matches(lock.target, subject)) return lock
  return undefined
}

/** The lock as it is told to people: `lock targeting User:"x" is in force: <message>`. */
export function lockText(lock: Lock): string {
  const named = LOCK_FIELDS.flatMap((field) => {
    const value = lock.target[field]
    return value === undefined ? [] : [`${TITLES[field]}:"${value}"`]
  })
  const message = lock.message === undefined || lock.message === '' ? '' : `: ${lock.message}`
  return `lock targeting ${named.join(' ')} is in force${message}`
}

/** The key of a person in `LockSet.generations`. */
export function userGenerationKey(issuer: string, name: string): string {
  return `user:${issuer}/${name}`
}

/** The key of an agent, proxy or control in `LockSet.generations`. */
export function hostGenerationKey(id: string): string {
  return `host:${id}`
}

/** Whether credentials of this generation were reset or copied since. */
export function isGenerationStale(lockSet: LockSet, key: string, generation: number): boolean {
  const lowest = Object.hasOwn(lockSet.generations, key) ? lockSet.generations[key] : undefined
  return lowest !== undefined && generation < lowest
}

/** The subject that a person's session is for locks. */
export function sessionSubject(
  identity: UserIdentity,
  session: {
    readonly kind: TargetKind
    readonly target: string
    readonly principal: string
    readonly certificateSerial: string
    readonly keySha256: string
    readonly serverIds: readonly string[]
  },
): LockSubject {
  const { kind, target, principal, certificateSerial, keySha256, serverIds } = session
  const { name, roles } = identity
  const common = { user: name, roles, serverIds, certificateSerial, keySha256 }
  // `login` means a login of an operating system: a database user of the same name is somebody else.
  if (kind === 'db') return { ...common, db: target }
  if (kind !== 'node') return common
  return { ...common, node: [target, ...serverIds], login: principal }
}

type LockField = keyof LockTarget

const TITLES: Readonly<Record<LockField, string>> = {
  user: 'User',
  role: 'Role',
  server_id: 'ServerID',
  db: 'Database',
  node: 'Node',
  certificate_serial: 'CertificateSerial',
  key_sha256: 'Key',
  login: 'Login',
  mfa_device: 'MFADevice',
}

const LOCK_FIELDS = [
  'user',
  'role',
  'server_id',
  'db',
  'node',
  'certificate_serial',
  'key_sha256',
  'login',
  'mfa_device',
] as const satisfies readonly LockField[]

type Index = ReadonlyMap<string, readonly Lock[]>

/** A memo of pure work on an immutable value. */
const indexes = new WeakMap<LockSet, Index>()

/** Each lock under the first field it names; a lock that names nothing we know is under none. */
function indexOf(lockSet: LockSet): Index {
  const known = indexes.get(lockSet)
  if (known !== undefined) return known
  const index = new Map<string, Lock[]>()
  for (const lock of lockSet.locks) {
    const field = LOCK_FIELDS.find((name) => lock.target[name] !== undefined)
    if (field === undefined) continue
    const key = `${field}:${canonical(field, lock.target[field] ?? '')}`
    const list = index.get(key)
    if (list === undefined) index.set(key, [lock])
    else list.push(lock)
  }
  indexes.set(lockSet, index)
  return index
}

function matches(target: LockTarget, subject: LockSubject): boolean {
  return LOCK_FIELDS.every((field) => {
    const value = target[field]
    return value === undefined || subjectValues(subject, field).includes(canonical(field, value))
  })
}

function inForce(lock: Lock, nowMs: number): boolean {
  return lock.expiresAtMs === undefined || nowMs < lock.expiresAtMs
}

function subjectValues(subject: LockSubject, field: LockField): readonly string[] {
  return rawValues(subject, field).map((value) => canonical(field, value))
}

function rawValues(subject: LockSubject, field: LockField): readonly string[] {
  switch (field) {
    case 'user':
      return one(subject.user)
    case 'role':
      return subject.roles ?? []
    case 'server_id':
      return subject.serverIds ?? []
    case 'db':
      return one(subject.db)
    case 'node':
      return subject.node ?? []
    case 'certificate_serial':
      return one(subject.certificateSerial)
    case 'key_sha256':
      return one(subject.keySha256)
    case 'login':
      return one(subject.login)
    case 'mfa_device':
      return one(subject.mfaDevice)
  }
}

function one(value: string | undefined): readonly string[] {
  return value === undefined ? [] : [value]
}

/** People are locked whatever the spelling; numbers whatever their leading zeros, colons and capitals. */
function canonical(field: LockField, value: string): string {
  if (field === 'user') return foldName(value)
  if (field === 'certificate_serial')
    return value.toLowerCase().replaceAll(':', '').replace(/^0+/, '')
  return field === 'key_sha256' ? value.toLowerCase().replaceAll(':', '') : value
}
