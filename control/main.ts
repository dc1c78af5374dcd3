// Control's process: opens what it needs, puts the parts together, serves the API. Order matters: keys and log before state, state
// before anything is signed, everything signed before the first caller is let in. Session traffic never comes here.

import { mkdirSync, readFileSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { mayResource } from '../core/policy/rights.ts'
import type { TokenReply } from './api/messages.ts'
import { ApiServer } from './api/server.ts'
import { type AuditLog, openAuditLog } from './audit.ts'
import type { Base } from './base.ts'
import { Cache } from './cache.ts'
import { Certificates } from './certificates.ts'
import { type ConfigFile, durationMs, sizeBytes } from './config.ts'
import { DbCredentials } from './db-credentials.ts'
import { Documents } from './documents.ts'
import { openEnvelope } from './envelope.ts'
import { firstStart, noteAuthorities, openCluster, writeFileConfig } from './genesis.ts'
import { HostKey } from './host-key.ts'
import { Issuer } from './issue.ts'
import { Membership } from './join.ts'
import { Leases } from './leases.ts'
import { LoginAttempts } from './login/attempts.ts'
import { Invites } from './login/invites.ts'
import { LocalLogin } from './login/local.ts'
import { type PasswordCost, Passwords } from './login/password.ts'
import { Permits } from './permits.ts'
import { Presence } from './presence.ts'
import { type RecordingSettings, Recordings } from './recordings.ts'
import { resourceKind } from './resources/resource.ts'
import { makeHandlers, type RouteParts } from './routes.ts'
import type { SignerApi } from './signer/api.ts'
import { SshCertificates } from './ssh-certificates.ts'
import { SessionSides } from './session-sides.ts'
import { Snapshots } from './snapshots.ts'
import { openSqliteStore } from './store/sqlite.ts'
import { TargetHealths } from './target-health.ts'
import { Targets } from './targets.ts'
import { TicketKeys } from './ticket-keys.ts'
import { staticTokens, Tokens } from './tokens.ts'
import { Users } from './users.ts'

export interface ControlOptions {
  readonly config: ConfigFile
  readonly cluster: string
  readonly version: string
  /** Control's own folder, 0700. */
  readonly folder: string
  /** Where the API listens: an address, or a handle the supervisor bound. */
  readonly listen: { readonly host: string; readonly port: number } | { readonly handle: object }
  readonly adminSocket: string
  /** What key_passphrase_file holds, when control itself may not read it. */
  readonly passphrase?: Uint8Array
  readonly signer: SignerApi
  readonly clock: Clock
  readonly log: Logger
  /** Tests hash passwords cheaply. */
  readonly passwordCost?: PasswordCost
}

export interface ControlHandle {
  readonly port: number
  readonly pins: readonly string[]
  /** True while the newest beacon is out: store, signer and log answer. */
  ready(): boolean
  gauges(): Readonly<Record<string, number>>
  /** A one-use join token for a process of this machine. */
  localToken(role: 'proxy' | 'agent', services: readonly string[]): Promise<TokenReply>
  /** SIGHUP: static tokens and the settings of the file. */
  reload(config: ConfigFile): Promise<void>
  /** SIGTERM: finishes calls, closes log and store. */
  drain(): Promise<void>
}

/** What was opened so far, in order: a start that fails closes it again. */
type Opened = (() => Promise<void>)[]

export async function startControl(options: ControlOptions): Promise<ControlHandle> {
  const opened: Opened = []
  try {
    return await open(options, opened)
  } catch (error) {
    for (const close of opened.toReversed()) await close().catch(() => {})
    throw error
  }
}

async function open(options: ControlOptions, opened: Opened): Promise<ControlHandle> {
  const { folder, clock, log, cluster, signer, config } = options
  mkdirSync(folder, { recursive: true, mode: 0o700 })
  const secrets = await openEnvelope({
    file: path.join(folder, 'envelope.key'),
    passphrase: passphraseOf(options),
  })
  const store = await openSqliteStore({
    file: path.join(folder, 'state.sqlite'),
    clock,
    logger: log,
  })
  opened.push(() => store.close())
  const { id, isNew } = await openCluster(store, cluster, clock)
  const audit = await openAuditLog({
    folder: path.join(folder, 'audit'),
    writer: id,
    cluster,
    clock,
    signer: {
      sign: (body) => signer.signCheckpoint(body),
      keys: async () => (await signer.authorities()).audit,
    },
    logger: log,
  })
  opened.push(() => audit.close())
  const base: Base = {
    cluster,
    store,
    signer,
    secrets,
    clock,
    log,
    audit: (name, code, fields) => audit.emit(name, code, fields),
  }
  if (isNew) await firstStart(base)
  await writeFileConfig(base, config)
  await noteAuthorities(base)
  const cache = await Cache.open(base)
  opened.push(() => cache.close())
  return await serve(options, { base, cache, audit, id, opened })
}

interface Foundation {
  readonly base: Base
  readonly cache: Cache
  readonly audit: AuditLog
  readonly id: string
  readonly opened: Opened
}

async function serve(options: ControlOptions, foundation: Foundation): Promise<ControlHandle> {
  const { base, cache, audit, id, opened } = foundation
  const { clock, log } = options
  const issuer = new Issuer(base, () => cache.authorities)
  const hostKey = await HostKey.issue(base, cache, issuer, id)
  const parts = await assemble(options, base, cache, audit, issuer)
  const server = new ApiServer({
    handlers: makeHandlers(parts),
    rights: {
      kindOf: resourceKind,
      mayResource: (identity, kind, verb) => mayResource(identity, cache.compiled, kind, verb),
    },
    trust: () => ({
      cluster: base.cluster,
      userCas: cache.authorities.cas.user,
      hostCas: cache.authorities.cas.host,
      lockSet: cache.lockSet,
    }),
    material: hostKey.material,
    isProxyAddress: (address) => parts.presence.isProxyAddress(address),
    record: (name, code, fields) => base.audit(name, code, fields),
    clock,
    log,
  })
  opened.push(
    () => parts.recordings.close(),
    () => parts.snapshots.close(),
    () => server.close(),
  )
  const sides = new SessionSides({ ...parts, clock, log })
  await parts.snapshots.start(() => server.recheck())
  const port = await server.listen(options.listen)
  await server.listenLocal(options.adminSocket)
  const minutely = setInterval(() => {
    everyMinute(parts, hostKey, server, sides).catch((error: unknown) =>
      log.warn('control’s housekeeping failed', { error: String(error) }),
    )
  }, 60_000)
  log.info('control serves', { cluster: base.cluster, port, pin: cache.bundle.pins[0] })
  return handleOf({ options, base, cache, opened, parts, server, hostKey, port, minutely })
}

const READY_SILENCE_MS = 10_000

interface Running {
  readonly options: ControlOptions
  readonly base: Base
  readonly cache: Cache
  readonly opened: Opened
  readonly parts: RouteParts
  readonly server: ApiServer
  readonly hostKey: HostKey
  readonly port: number
  readonly minutely: NodeJS.Timeout
}

function handleOf(running: Running): ControlHandle {
  const { options, base, cache, opened, parts, server, hostKey, port, minutely } = running
  const { clock, log } = options
  return {
    port,
    pins: cache.bundle.pins,
    ready: () => clock.now() - parts.snapshots.beaconAtMs < READY_SILENCE_MS,
    gauges: () => gaugesOf(parts, server),
    localToken: (role, services) => parts.tokens.createLocal(role, services),
    async reload(changed) {
      parts.tokens.setStatic(staticTokens(changed.auth_service.tokens))
      parts.targets.selectLocally(selectsLocally(changed))
      parts.recordings.settings = recordingSettings(changed)
      await writeFileConfig(base, changed)
      await cache.seen(await noteAuthorities(base))
      await cache.refreshAuthorities()
      server.setMaterial(await hostKey.renew())
      log.info('control reloaded its configuration', { tokens: changed.auth_service.tokens.length })
    },
    async drain() {
      clearInterval(minutely)
      for (const close of opened.toReversed()) await close()
      await base.signer.close()
    },
  }
}

async function assemble(
  options: ControlOptions,
  base: Base,
  cache: Cache,
  audit: AuditLog,
  issuer: Issuer,
): Promise<RouteParts> {
  const { config, version, passwordCost } = options
  const presence = new Presence(base.clock)
  const healths = new TargetHealths(presence)
  const ticketKeys = new TicketKeys(base)
  await ticketKeys.refresh()
  const dbCredentials = new DbCredentials(base, cache)
  const certificates = new Certificates(base, cache, issuer, ticketKeys, dbCredentials)
  const sshCertificates = new SshCertificates(base, cache, issuer)
  const passwords = new Passwords({
    jobsMax: os.availableParallelism(),
    ...(passwordCost === undefined ? {} : { cost: passwordCost }),
  })
  const attempts = new LoginAttempts(base.clock)
  const documents = new Documents(base, cache)
  const invites = new Invites({ base, passwords, attempts })
  const tokens = new Tokens(base, cache, staticTokens(config.auth_service.tokens))
  const pagesUrl = (): string | undefined => {
    const [proxy] = cache.snapshot.proxies
    return proxy === undefined ? undefined : `https://${proxy.address}`
  }
  return {
    base,
    version,
    cache,
    audit,
    presence,
    healths,
    ticketKeys,
    certificates,
    sshCertificates,
    dbCredentials,
    documents,
    invites,
    tokens,
    permits: new Permits(base, cache),
    recordings: await openRecordings(base, options),
    leases: new Leases(base.clock),
    login: new LocalLogin({
      base,
      directory: cache,
      passwords,
      attempts,
      certificates,
      ssh: sshCertificates,
    }),
    membership: new Membership({ base, cache, tokens, issuer, presence }),
    snapshots: new Snapshots({ base, cache, checkpoint: () => audit.latestCheckpoint() }),
    targets: new Targets({ base, cache, issuer, presence, healths }, selectsLocally(config)),
    users: new Users({ base, cache, documents, invites, pagesUrl }),
  }
}

function openRecordings(base: Base, { folder, config }: ControlOptions): Promise<Recordings> {
  return Recordings.open(base, path.join(folder, 'recordings'), recordingSettings(config))
}

function recordingSettings({ auth_service: auth }: ConfigFile): RecordingSettings {
  const { recordings_retention: retention, recordings_size_max: size } = auth
  const bytesMax = size === undefined ? max('recordingStoreBytesMax') : sizeBytes(size)
  return retention === undefined ? { bytesMax } : { bytesMax, retentionMs: durationMs(retention) }
}

/** Whether the agent of this machine, which shares the file, selects `db` resources. */
function selectsLocally({ db_service: { resources } }: ConfigFile): boolean {
  return resources.length > 0
}

async function everyMinute(
  parts: RouteParts,
  hostKey: HostKey,
  server: ApiServer,
  sides: SessionSides,
): Promise<void> {
  parts.leases.sweep()
  parts.presence.sweep()
  parts.healths.sweep()
  server.recheck()
  await parts.ticketKeys.refresh()
  await sides.check()
  if (hostKey.isDue()) server.setMaterial(await hostKey.renew())
  await parts.recordings.sweep((id) => parts.presence.lastSeenMs(id) > 0)
}

function gaugesOf(parts: RouteParts, server: ApiServer): Readonly<Record<string, number>> {
  const { snapshots, leases, audit, cache, recordings } = parts
  return {
    watchers: snapshots.watchers,
    streams: server.streams,
    leases: leases.size,
    recordings_bytes: recordings.bytes,
    audit_records: audit.status().count,
    users: cache.kind('user').size,
    roles: cache.kind('role').size,
    hosts: [...cache.hosts()].length,
    targets: [...cache.targets()].length,
    snapshot_revision: snapshots.published.snapshot,
    lock_revision: snapshots.published.locks,
  }
}

function passphraseOf({ config, passphrase }: ControlOptions): Uint8Array | undefined {
  const { insecure_keys: insecure, key_passphrase_file: file } = config.sluice
  if (passphrase !== undefined)
    return Buffer.from(Buffer.from(passphrase).toString('utf8').trimEnd())
  if (file !== undefined) return Buffer.from(readFileSync(file, 'utf8').trimEnd())
  if (insecure) return undefined
  throw new ProxyError('config.invalid', 'Control’s secrets need key_passphrase_file.', {
    next: 'Set key_passphrase_file, or insecure_keys: true to keep the keys in clear.',
  })
}
