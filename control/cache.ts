// The state in memory, as control/directory.ts describes it: read once, then kept current by the store's watch. Tells listeners
// what changed: locks at once, everything else as it comes. Nothing here writes. A stored resource that this version cannot read
// stops control: leaving out a role would leave out its denials.

import { keyPin } from '../core/cert/key.ts'
import { writePem } from '../core/cert/pem.ts'
import { readCertificate } from '../core/cert/x509.ts'
import { errorCode } from '../core/errors.ts'
import type { TargetKind } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import { compileRoles } from '../core/policy/compile.ts'
import { foldName } from '../core/policy/names.ts'
import type { Lock, Role } from '../core/policy/role.ts'
import type { ClusterConfig, LockSet, Snapshot } from '../core/snapshot.ts'
import type { CaBundle } from './api/messages.ts'
import type { Base } from './base.ts'
import { parseStored } from './base.ts'
import type { DatabaseFacts, Directory, UserFacts } from './directory.ts'
import { KnownTargets } from './known-targets.ts'
import {
  DB_CREDENTIALS,
  GENERATIONS,
  generationSchema,
  type HostRecord,
  HOSTS,
  hostSchema,
  RESOURCES,
  type TargetRecord,
  TARGETS,
  targetKey,
  targetSchema,
} from './records.ts'
import { parseDuration } from './resources/duration.ts'
import { compileClusterConfig, defaultClusterResources } from './resources/cluster-config.ts'
import { compileLock } from './resources/lock.ts'
import { parseResource, type Resource, type ResourceKind } from './resources/resource.ts'
import { compileRole } from './resources/role.ts'
import { statusLock } from './resources/user.ts'
import type { Authorities } from './signer/api.ts'
import { keySegments, type StoreEvent } from './store/contract.ts'

/** `targets`: what agents ask for. */
export type Change = 'locks' | 'light' | 'inventory' | 'targets'

export interface StoredResource {
  readonly resource: Resource
  readonly revision: number
}

interface Waiter {
  readonly revision: number
  readonly resolve: () => void
}

const NO_RESOURCES: ReadonlyMap<string, StoredResource> = new Map()

export class Cache implements Directory {
  readonly #base: Base
  readonly #stop = new AbortController()
  readonly #resources = new Map<string, Map<string, StoredResource>>()
  readonly #hosts = new Map<string, HostRecord>()
  readonly #targets = new KnownTargets()
  readonly #generations = new Map<string, number>()
  readonly #listeners: ((change: Change) => void)[] = []
  #waiters: Waiter[] = []
  #authorities: Authorities
  #revision = 0
  #lockRevision = 0
  #inventoryRevision = 0
  #targetsRevision = 0
  // Computed on demand from the maps above; undefined after a change.
  #roles: readonly Role[] | undefined
  #lockSet: LockSet | undefined
  #config: ClusterConfig | undefined
  #snapshot: Snapshot | undefined
  #bundle: CaBundle | undefined
  /** Rejects when the watch is lost for good. */
  done: Promise<void> = Promise.resolve()

  private constructor(base: Base, authorities: Authorities) {
    this.#base = base
    this.#authorities = authorities
  }

  static async open(base: Base): Promise<Cache> {
    const cache = new Cache(base, await base.signer.authorities())
    const from = await cache.#load()
    cache.done = cache.#follow(from)
    // Whoever waits for `done` hears of it; nobody else must.
    cache.done.catch(() => {})
    return cache
  }

  onChange(listener: (change: Change) => void): void {
    this.#listeners.push(listener)
  }

  async close(): Promise<void> {
    this.#stop.abort()
    await this.done.catch(() => {})
  }

  /** Revision of the newest change seen. */
  get revision(): number {
    return this.#revision
  }

  get inventoryRevision(): number {
    return this.#inventoryRevision
  }

  get targetsRevision(): number {
    return this.#targetsRevision
  }

  get authorities(): Authorities {
    return this.#authorities
  }

  /** New CAs or keys at the signer. */
  async refreshAuthorities(): Promise<void> {
    this.#authorities = await this.#base.signer.authorities()
    this.#bundle = undefined
    this.#changed('light')
  }

  get bundle(): CaBundle {
    const { user, host, target, db, db_client } = this.#authorities.cas
    const pem = (cas: readonly Uint8Array[]): readonly string[] =>
      cas.map((ca) => writePem('CERTIFICATE', ca))
    this.#bundle ??= {
      user: pem(user),
      host: pem(host),
      target: pem(target),
      db: pem(db),
      db_client: pem(db_client),
      pins: host.map((ca) => keyPin(readCertificate(ca).spki)),
    }
    return this.#bundle
  }

  get roles(): readonly Role[] {
    this.#roles ??= this.#all('role').map(compileRole)
    return this.#roles
  }

  get compiled(): ReturnType<typeof compileRoles> {
    return compileRoles(this.roles)
  }

  get lockSet(): LockSet {
    this.#lockSet ??= {
      revision: this.#lockRevision,
      locks: [...this.#lockResources(), ...this.#lockedUsers()],
      generations: Object.fromEntries(this.#generations),
    }
    return this.#lockSet
  }

  get config(): ClusterConfig {
    const defaults = defaultClusterResources()
    this.#config ??= compileClusterConfig(this.#base.cluster, {
      auth: this.#single('cluster_auth_preference') ?? defaults.auth,
      recording: this.#single('session_recording_config') ?? defaults.recording,
      networking: this.#single('cluster_networking_config') ?? defaults.networking,
    })
    return this.#config
  }

  get sessionTtlMs(): number {
    const text = this.#single('cluster_auth_preference')?.spec.default_session_ttl
    return (text === undefined ? undefined : parseDuration(text)) ?? max('userCertTtlMs')
  }

  get snapshot(): Snapshot {
    this.#snapshot ??= {
      revision: this.#revision,
      class: 'agent',
      issuedAtMs: this.#base.clock.now(),
      cas: this.#authorities.cas,
      ssh: this.#authorities.ssh,
      signers: this.#authorities.snapshot,
      roles: this.roles,
      config: this.config,
      proxies: [...this.#hosts.values()].flatMap(({ id, role, address }) =>
        role === 'proxy' && address !== undefined ? [{ id, address }] : [],
      ),
      lockSet: this.lockSet,
      beaconAtMs: this.#base.clock.now(),
    }
    return this.#snapshot
  }

  /** All resources of a kind, by store name. */
  kind(kind: ResourceKind): ReadonlyMap<string, StoredResource> {
    return this.#resources.get(kind) ?? NO_RESOURCES
  }

  user(name: string): UserFacts | undefined {
    const found = this.kind('user').get(foldName(name))?.resource
    if (found?.kind !== 'user') return undefined
    const { metadata, spec } = found
    const expires = spec.expires ?? metadata.expires
    const expiresAtMs = expires === undefined ? undefined : Date.parse(expires)
    if (expiresAtMs !== undefined && this.#base.clock.now() >= expiresAtMs) return undefined
    return {
      name: metadata.name,
      roles: spec.roles,
      traits: spec.traits ?? {},
      ...(expiresAtMs === undefined ? {} : { expiresAtMs }),
    }
  }

  database(name: string): DatabaseFacts | undefined {
    const found = this.kind('db').get(name)?.resource
    if (found?.kind !== 'db') return undefined
    const { metadata, spec } = found
    return {
      name: metadata.name,
      protocol: spec.protocol,
      labels: metadata.labels ?? {},
      description: metadata.description ?? '',
    }
  }

  host(id: string): HostRecord | undefined {
    return this.#hosts.get(id)
  }

  hosts(): Iterable<HostRecord> {
    return this.#hosts.values()
  }

  target(kind: TargetKind, name: string): TargetRecord | undefined {
    return this.targetAt(targetKey(kind, name))
  }

  /** Store keys of targets that changed since the last call. For the one who publishes the inventory. */
  takeChangedTargets(): readonly string[] {
    return this.#targets.takeChanged()
  }

  targetAt(key: string): TargetRecord | undefined {
    return this.#targets.at(key)
  }

  targets(): Iterable<TargetRecord> {
    return this.#targets.all()
  }

  seen(revision: number): Promise<void> {
    if (this.#revision >= revision) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push({ revision, resolve }))
  }

  async #load(): Promise<number> {
    const { store } = this.#base
    let after: string | undefined
    let first: number | undefined
    for (const map of [this.#resources, this.#hosts, this.#targets, this.#generations]) map.clear()
    do {
      const page = await store.range({ prefix: '', ...(after === undefined ? {} : { after }) })
      first ??= page.revision
      for (const { key, value, revision } of page.items) this.#put(key, value, revision)
      after = page.next
    } while (after !== undefined)
    this.#lockRevision = Math.max(this.#lockRevision, first)
    this.#inventoryRevision = Math.max(this.#inventoryRevision, first)
    this.#targetsRevision = Math.max(this.#targetsRevision, first)
    this.#advance(first)
    for (const change of ['locks', 'light', 'inventory'] as const) this.#changed(change)
    return first
  }

  async #follow(from: number): Promise<void> {
    let at = from
    while (!this.#stop.signal.aborted) {
      try {
        for await (const event of this.#base.store.watch({
          prefix: '',
          from: at,
          signal: this.#stop.signal,
        })) {
          at = event.revision
          this.#apply(event)
        }
        return
      } catch (error) {
        if (this.#stop.signal.aborted) return
        const code = errorCode(error)
        if (code === 'store.resync') at = await this.#load()
        // Fell behind: the watch goes on from the last revision seen.
        else if (code !== 'limit.exceeded') throw error
      }
    }
  }

  #apply(event: StoreEvent): void {
    const value = event.type === 'put' ? event.value : undefined
    const change = this.#put(event.key, value, event.revision)
    const { revision } = event
    if (change === 'locks') this.#lockRevision = revision
    if (change === 'inventory') this.#inventoryRevision = revision
    if (change === 'targets') this.#targetsRevision = revision
    this.#revision = revision
    if (change !== undefined) this.#changed(change)
    this.#advance(event.revision)
  }

  /** Takes a value in (undefined: it is gone). Returns what depends on it. */
  #put(key: string, value: string | undefined, revision: number): Change | undefined {
    if (key.startsWith(RESOURCES)) return this.#putResource(key, value, revision)
    if (key.startsWith(HOSTS)) return this.#putHost(key, value)
    if (key.startsWith(TARGETS)) {
      this.#targets.put(
        key,
        value === undefined ? undefined : parseStored(value, targetSchema, key),
      )
      return 'inventory'
    }
    if (key.startsWith(DB_CREDENTIALS)) return 'targets'
    if (!key.startsWith(GENERATIONS)) return undefined
    const subject = keySegments(key)[1] ?? ''
    if (value === undefined) this.#generations.delete(subject)
    else this.#generations.set(subject, parseStored(value, generationSchema, key))
    return 'locks'
  }

  /** Renewals and confirmations are no news to anybody else: only addresses of proxies are in snapshots. */
  #putHost(key: string, value: string | undefined): Change | undefined {
    const id = keySegments(key)[1] ?? ''
    const before = this.#hosts.get(id)?.address
    if (value === undefined) this.#hosts.delete(id)
    else this.#hosts.set(id, parseStored(value, hostSchema, key))
    return this.#hosts.get(id)?.address === before ? undefined : 'light'
  }

  #putResource(key: string, value: string | undefined, revision: number): Change | undefined {
    const [, kind = '', name = ''] = keySegments(key)
    const ofKind = this.#resources.get(kind) ?? new Map<string, StoredResource>()
    this.#resources.set(kind, ofKind)
    if (value === undefined) ofKind.delete(name)
    else ofKind.set(name, { resource: parseResource(JSON.parse(value)), revision })
    switch (kind) {
      case 'lock':
      case 'user':
        return 'locks'
      case 'role':
      case 'cluster_auth_preference':
      case 'session_recording_config':
      case 'cluster_networking_config':
        return 'light'
      case 'node':
        this.#targets.setAgentless(this.#all('node'))
        return 'inventory'
      case 'db':
      case 'health_check_config':
        return 'targets'
      default:
        return undefined
    }
  }

  #changed(change: Change): void {
    this.#snapshot = undefined
    if (change === 'locks') this.#lockSet = undefined
    if (change === 'light') this.#roles = this.#config = undefined
    for (const listener of this.#listeners) listener(change)
  }

  #advance(revision: number): void {
    this.#revision = Math.max(this.#revision, revision)
    const ready = this.#waiters.filter((waiter) => waiter.revision <= this.#revision)
    this.#waiters = this.#waiters.filter((waiter) => waiter.revision > this.#revision)
    for (const waiter of ready) waiter.resolve()
  }

  #lockResources(): readonly Lock[] {
    return this.#all('lock').map((lock) => compileLock(lock, 0))
  }

  /** `status.is_locked` of a user is a lock like any other. */
  #lockedUsers(): readonly Lock[] {
    return this.#all('user')
      .filter(({ spec }) => spec.status?.is_locked === true)
      .map(statusLock)
  }

  #all<K extends ResourceKind>(kind: K): readonly Extract<Resource, { kind: K }>[] {
    // The map of a kind holds that kind alone.
    return [...this.kind(kind).values()].map(
      ({ resource }) => resource as Extract<Resource, { kind: K }>,
    )
  }

  #single<K extends ResourceKind>(kind: K): Extract<Resource, { kind: K }> | undefined {
    return this.#all(kind)[0]
  }
}
