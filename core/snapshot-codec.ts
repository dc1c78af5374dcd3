// Snapshots, lock sets, beacons and inventories as bytes: canonical JSON that control signs and everybody verifies, whoever
// carried it. A role with a part this version does not know grants nothing here. Never: a default for something missing.

import { type Canonical, canonicalJson } from './cert/canonical.ts'
import type { SnapshotType } from './cert/signed.ts'
import { ProxyError } from './errors.ts'
import { TARGET_KINDS } from './identity.ts'
import type { TargetRef } from './identity.ts'
import { type InventoryDelta, readTarget } from './inventory.ts'
import type { Lock, Role } from './policy/role.ts'
import type {
  AuditCheckpoint,
  Beacon,
  CaSets,
  LightSnapshot,
  LockSet,
  SshCaSets,
} from './snapshot.ts'

/** A message of control as it travels. `payload`: the bytes a signed inventory manifest names, compressed with zstd. */
export interface SignedMessage {
  readonly type: SnapshotType
  readonly body: Uint8Array
  readonly signature: Uint8Array
  readonly payload?: Uint8Array
}

/** What an inventory message says: a whole base, whose bytes travel beside it, or a change. */
export type InventoryBody =
  | {
      readonly kind: 'base'
      readonly revision: number
      readonly sha256: string
      readonly bytes: number
    }
  | ({ readonly kind: 'delta' } & InventoryDelta)

export function encodeSnapshot(snapshot: LightSnapshot): Uint8Array {
  const cas = Object.fromEntries(
    CA_PURPOSES.map((each) => [each, snapshot.cas[each].map(toBase64)]),
  )
  const { ssh } = snapshot
  const ofSsh =
    ssh === undefined
      ? {}
      : { ssh: Object.fromEntries(SSH_PURPOSES.map((each) => [each, ssh[each].map(toBase64)])) }
  return encode({ ...snapshot, cas, ...ofSsh, signers: snapshot.signers.map(toBase64) })
}

export function encodeLocks(lockSet: LockSet): Uint8Array {
  return encode(lockSet)
}

export function encodeBeacon(beacon: Beacon): Uint8Array {
  return encode(beacon)
}

export function encodeInventory(inventory: InventoryBody): Uint8Array {
  return encode(inventory)
}

/** Each decoder throws `snapshot.forged`: what control signed and we cannot read is not obeyed. */
export function decodeSnapshot(body: Uint8Array): LightSnapshot {
  const root = fields(parse(body))
  const kind = root.text('class')
  if (kind !== 'agent' && kind !== 'proxy') throw unreadable('class')
  const cas = fields(root.get('cas'))
  return {
    revision: root.number('revision'),
    class: kind,
    issuedAtMs: root.number('issuedAtMs'),
    cas: Object.fromEntries(CA_PURPOSES.map((each) => [each, cas.bytes(each)])) as Record<
      keyof CaSets,
      readonly Uint8Array[]
    >,
    ...(root.has('ssh') ? { ssh: readSshCas(root.get('ssh')) } : {}),
    signers: root.bytes('signers'),
    roles: root.list('roles').map(readRole),
    config: readConfig(root.get('config')),
    ...(root.has('targetsRevision') ? { targetsRevision: root.number('targetsRevision') } : {}),
    proxies: root.list('proxies').map((item) => {
      const proxy = fields(item)
      return { id: proxy.text('id'), address: proxy.text('address') }
    }),
  }
}

function readSshCas(value: unknown): SshCaSets {
  const cas = fields(value)
  return { user: cas.bytes('user'), host: cas.bytes('host'), openssh: cas.bytes('openssh') }
}

export function decodeLocks(body: Uint8Array): LockSet {
  const root = fields(parse(body))
  const generations = fields(root.get('generations')).entries()
  if (!generations.every(([, value]) => isCount(value))) throw unreadable('generations')
  return {
    revision: root.number('revision'),
    locks: root.list('locks').map(readLock),
    generations: Object.fromEntries(generations) as Record<string, number>,
  }
}

export function decodeBeacon(body: Uint8Array): Beacon {
  const root = fields(parse(body))
  const checkpoint = root.has('checkpoint') ? readCheckpoint(root.get('checkpoint')) : undefined
  return {
    snapshotRevision: root.number('snapshotRevision'),
    lockRevision: root.number('lockRevision'),
    timeMs: root.number('timeMs'),
    ...(checkpoint === undefined ? {} : { checkpoint }),
  }
}

export function decodeInventory(body: Uint8Array): InventoryBody {
  const root = fields(parse(body))
  const revision = root.number('revision')
  switch (root.text('kind')) {
    case 'base':
      return { kind: 'base', revision, sha256: root.text('sha256'), bytes: root.number('bytes') }
    case 'delta':
      return {
        kind: 'delta',
        revision,
        from: root.number('from'),
        put: root.list('put').map(readTarget),
        remove: root.list('remove').map(readRef),
      }
    default:
      throw unreadable('kind')
  }
}

const CA_PURPOSES = [
  'user',
  'host',
  'target',
  'db',
  'db_client',
] as const satisfies readonly (keyof CaSets)[]
const SSH_PURPOSES = ['user', 'host', 'openssh'] as const satisfies readonly (keyof SshCaSets)[]

// A key of a role that is not in these tables is policy this version cannot enforce.
const ROLE_KEYS = {
  name: 1,
  version: 1,
  options: 1,
  allow: 1,
  deny: 1,
  unenforced: 1,
} satisfies Record<keyof Role, 1>
const OPTION_KEYS = {
  maxSessionTtlMs: 1,
  clientIdleTimeoutMs: 1,
  disconnectExpiredCert: 1,
  maxConnections: 1,
  dbReplication: 1,
  lock: 1,
  recordSession: 1,
  ssh: 1,
} satisfies Record<keyof Role['options'], 1>
const SSH_OPTION_KEYS = {
  forwardAgent: 1,
  portForwarding: 1,
  localForwarding: 1,
  remoteForwarding: 1,
  x11: 1,
  fileCopy: 1,
  maxSessions: 1,
  recordSession: 1,
} satisfies Record<keyof NonNullable<Role['options']['ssh']>, 1>
const SIDE_KEYS = { db: 1, node: 1, rules: 1 } satisfies Record<keyof Role['allow'], 1>
const DATABASE_KEYS = { labels: 1, labelsExpression: 1, users: 1, names: 1 } satisfies Record<
  keyof NonNullable<Role['allow']['db']>,
  1
>

const NODE_KEYS = { labels: 1, labelsExpression: 1, logins: 1 } satisfies Record<
  keyof NonNullable<Role['allow']['node']>,
  1
>

const EVERYTHING = [...TARGET_KINDS, 'rules'] as const

function readRole(value: unknown): Role {
  const role = fields(value)
  role.text('name')
  role.text('version')
  role.list('unenforced')
  const sides = [fields(role.get('allow')), fields(role.get('deny'))]
  for (const side of sides) side.list('rules')
  const options = fields(role.get('options'))
  const within = (all: Fields, key: string, known: Readonly<Record<string, 1>>): string[] =>
    all.has(key) ? [...fields(all.get(key)).unknown(known)] : []
  const unknown = [
    ...role.unknown(ROLE_KEYS),
    ...options.unknown(OPTION_KEYS),
    ...within(options, 'ssh', SSH_OPTION_KEYS),
    ...sides.flatMap((side) => side.unknown(SIDE_KEYS)),
    ...sides.flatMap((side) => within(side, 'db', DATABASE_KEYS)),
    ...sides.flatMap((side) => within(side, 'node', NODE_KEYS)),
  ]
  // Written by our own encoder and signed by control: the tables above are the check.
  const known = value as Role
  if (unknown.length === 0) return known
  // It may be a denial: whoever holds the role gets nothing.
  const blind = unknown.map((field) => ({ field, kinds: EVERYTHING, effect: 'refuses' as const }))
  return { ...known, unenforced: [...known.unenforced, ...blind] }
}

const CONFIG_KEYS = {
  cluster: 1,
  recording: 1,
  lockingMode: 1,
  disconnectExpiredCert: 1,
  clientIdleTimeoutMs: 1,
  clientIdleTimeoutMessage: 1,
  maxConnectionsMode: 1,
} satisfies Record<keyof LightSnapshot['config'], 1>

function readConfig(value: unknown): LightSnapshot['config'] {
  const config = fields(value)
  const unknown = config.unknown(CONFIG_KEYS)
  if (unknown.length > 0) throw unreadable(`config.${unknown.join(', config.')}`)
  for (const key of ['cluster', 'recording', 'lockingMode', 'maxConnectionsMode']) config.text(key)
  if (typeof config.get('disconnectExpiredCert') !== 'boolean')
    throw unreadable('config.disconnectExpiredCert')
  return value as LightSnapshot['config']
}

function readLock(value: unknown): Lock {
  const lock = fields(value)
  lock.text('name')
  lock.number('createdAtMs')
  const target = fields(lock.get('target')).entries()
  if (target.length === 0 || !target.every(([, text]) => typeof text === 'string'))
    throw unreadable('target')
  return value as Lock
}

function readCheckpoint(value: unknown): AuditCheckpoint {
  const checkpoint = fields(value)
  return {
    writer: checkpoint.text('writer'),
    count: checkpoint.number('count'),
    head: checkpoint.text('head'),
    timeMs: checkpoint.number('timeMs'),
    signature: checkpoint.text('signature'),
  }
}

function readRef(value: unknown): TargetRef {
  const ref = fields(value)
  const kind = TARGET_KINDS.find((each) => each === ref.text('kind'))
  if (kind === undefined) throw unreadable('kind')
  return { kind, name: ref.text('name') }
}

function encode(value: object): Uint8Array {
  return Buffer.from(canonicalJson(toCanonical(value)))
}

/** The same value, its type checked at run time instead of by a cast. */
function toCanonical(value: unknown): Canonical {
  if (typeof value === 'string' || typeof value === 'boolean' || typeof value === 'number')
    return value
  if (Array.isArray(value)) return value.map(toCanonical)
  if (typeof value !== 'object' || value === null) throw new TypeError('no canonical form')
  const members = Object.entries(value).filter(([, member]) => member !== undefined)
  return Object.fromEntries(members.map(([key, member]) => [key, toCanonical(member)]))
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}

function parse(body: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(body).toString('utf8'))
  } catch {
    throw unreadable('body')
  }
}

interface Fields {
  get(key: string): unknown
  has(key: string): boolean
  text(key: string): string
  number(key: string): number
  list(key: string): readonly unknown[]
  bytes(key: string): readonly Uint8Array[]
  entries(): readonly (readonly [string, unknown])[]
  unknown(known: Readonly<Record<string, 1>>): readonly string[]
}

function fields(value: unknown): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw unreadable('object')
  const map = new Map<string, unknown>(Object.entries(value))
  const demand = <T>(key: string, is: (field: unknown) => field is T): T => {
    const field = map.get(key)
    if (!is(field)) throw unreadable(key)
    return field
  }
  return {
    get: (key) => map.get(key),
    has: (key) => map.has(key),
    text: (key) => demand(key, isText),
    number: (key) => demand(key, isCount),
    list: (key) => demand(key, isList),
    bytes: (key) => demand(key, isTexts).map((text) => Buffer.from(text, 'base64')),
    entries: () => [...map],
    unknown: (known) => [...map.keys()].filter((key) => !Object.hasOwn(known, key)),
  }
}

function isText(value: unknown): value is string {
  return typeof value === 'string'
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0
}

function isList(value: unknown): value is readonly unknown[] {
  return Array.isArray(value)
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(isText)
}

function unreadable(field: string): ProxyError {
  return new ProxyError(
    'snapshot.forged',
    `A message of control has a form this version does not know (${field}).`,
    { next: 'Bring this process to the version of control.' },
  )
}
