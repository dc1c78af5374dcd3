// `sluice start`: binds the ports, forks one process per enabled role under its own uid, hands the first join tokens of this
// machine from control to the others, restarts what crashes, drains on SIGTERM, reloads on SIGHUP. Parses nothing from the
// network and holds no key.

import { chmodSync, chownSync, existsSync, mkdirSync } from 'node:fs'
import path from 'node:path'

import { ProxyError } from '../../core/errors.ts'
import type { Logger } from '../../core/log.ts'
import { Child } from './child.ts'
import { bind, type BoundHandle } from './listeners.ts'
import type { FromChild, LocalJoin, Role } from './messages.ts'
import { readableRuntime, type Runtime } from './runtime.ts'

/** What the supervisor must know of a role; made from sluice.yaml by plan.ts. */
export interface RolePlan {
  readonly role: Role
  /** Addresses to bind before the fork, by listener name (`public`, `api`, `diag`). */
  readonly listeners: Readonly<Record<string, string>>
  readonly uid?: number
  readonly gid?: number
  /** True when the role joins the cluster and has no token of its own in the configuration. */
  readonly joinsLocally: boolean
}

/** Further Node flags of a role's process. */
export type RoleFlags = (role: Role) => readonly string[]

export interface SupervisorOptions {
  readonly plans: readonly RolePlan[]
  readonly config: string
  readonly configFile: string
  readonly dataDir: string
  readonly drainMs: number
  readonly passphrase?: Uint8Array
  readonly roleFlags?: RoleFlags
  readonly log: Logger
}

/** How long a role may take to say `ready`. */
const READY_DEADLINE_MS = 60_000
/** What a role may take, after its sessions had their time, to say good-bye to the rest and to write what it holds. */
const STOP_GRACE_MS = 10_000

export class Supervisor {
  readonly #options: SupervisorOptions
  readonly #children = new Map<Role, Child>()
  readonly #ready = new Map<Role, (addresses: Readonly<Record<string, string>>) => void>()
  readonly #tokens = new Map<Role, (local: LocalJoin) => void>()
  #runtime: Runtime | undefined
  #failed: (error: ProxyError) => void = () => {}

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /** Pids by role, for tests and `sluice status`. */
  get pids(): Readonly<Partial<Record<Role, number>>> {
    return Object.fromEntries([...this.#children].map(([role, child]) => [role, child.pid]))
  }

  /** Starts the roles in order, each when the one before serves. Resolves with the addresses they listen on. */
  async start(): Promise<Readonly<Record<string, string>>> {
    const { plans, log } = this.#options
    const bound = plans.map((plan) => ({ plan, listeners: bindAll(plan.listeners) }))
    const uids = plans.flatMap((plan) => (plan.uid === undefined ? [] : [plan.uid]))
    this.#runtime = readableRuntime([...new Set(uids)])
    const addresses: Record<string, string> = {}
    for (const { plan, listeners } of bound) {
      this.#prepareFolder(plan)
      const found = await this.#startRole(plan, listeners, this.#runtime)
      for (const [name, address] of Object.entries(found))
        addresses[`${plan.role}.${name}`] = address
      log.info('role serves', {
        role: plan.role,
        pid: this.#children.get(plan.role)?.pid,
        ...found,
      })
    }
    return addresses
  }

  reload(config: string): void {
    for (const child of this.#children.values()) child.reload(config)
  }

  /** Drains the proxy first, control and signer last: sessions end before what they depend on. */
  async stop(): Promise<void> {
    const order: readonly Role[] = ['proxy', 'agent', 'launcher', 'control', 'signer']
    const deadlineMs = this.#options.drainMs + STOP_GRACE_MS
    for (const role of order) await this.#children.get(role)?.stop(deadlineMs)
    this.#runtime?.dispose()
  }

  async #startRole(
    plan: RolePlan,
    listeners: Readonly<Record<string, BoundHandle>>,
    runtime: Runtime,
  ): Promise<Readonly<Record<string, string>>> {
    const { config, configFile, roleFlags, log } = this.#options
    const child = new Child({
      role: plan.role,
      runtime,
      config,
      configFile,
      listeners,
      log,
      ...(roleFlags === undefined ? {} : { flags: roleFlags(plan.role) }),
      ...this.#needsPassphrase(plan.role),
      ...(plan.uid === undefined ? {} : { uid: plan.uid }),
      ...(plan.gid === undefined ? {} : { gid: plan.gid }),
      ...(plan.joinsLocally ? { localJoin: () => this.#localJoin(plan.role) } : {}),
      onMessage: (message) => this.#heard(plan.role, message),
      onFailed: (message, next) =>
        this.#failed(new ProxyError('config.invalid', message, next === undefined ? {} : { next })),
    })
    this.#children.set(plan.role, child)
    const ready = this.#awaitReady(plan.role)
    await child.start()
    return await ready
  }

  #needsPassphrase(role: Role): { passphrase?: Uint8Array } {
    const { passphrase } = this.#options
    return passphrase !== undefined && (role === 'signer' || role === 'control')
      ? { passphrase }
      : {}
  }

  #awaitReady(role: Role): Promise<Readonly<Record<string, string>>> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () =>
          reject(
            new ProxyError(
              'config.invalid',
              `${role} did not start within a minute; its log lines say why`,
            ),
          ),
        READY_DEADLINE_MS,
      )
      this.#failed = (error) => {
        clearTimeout(timer)
        reject(error)
      }
      this.#ready.set(role, (addresses) => {
        clearTimeout(timer)
        resolve(addresses)
      })
    })
  }

  #heard(role: Role, message: FromChild): void {
    if (message.kind === 'ready') this.#ready.get(role)?.(message.addresses)
    if (message.kind === 'local-token') this.#tokens.get(message.role)?.(message.local)
  }

  /** A join token from control when this role's folder holds no identity yet. */
  async #localJoin(role: Role): Promise<LocalJoin | undefined> {
    const control = this.#children.get('control')
    if (control === undefined || (role !== 'proxy' && role !== 'agent')) return undefined
    if (existsSync(path.join(this.#options.dataDir, role, 'identity.json'))) return undefined
    return await new Promise((resolve) => {
      const timer = setTimeout(() => resolve(undefined), READY_DEADLINE_MS)
      this.#tokens.set(role, (local) => {
        clearTimeout(timer)
        this.#tokens.delete(role)
        resolve(local)
      })
      control.send({ kind: 'local-token', role })
    })
  }

  /** `<data_dir>/<role>`, 0700, owned by the role. The signer's folder lets control's group through to its socket. */
  #prepareFolder(plan: RolePlan): void {
    const { dataDir } = this.#options
    mkdirSync(dataDir, { recursive: true, mode: 0o755 })
    const folder = path.join(dataDir, plan.role)
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    if (plan.uid !== undefined) chownSync(folder, plan.uid, plan.gid ?? plan.uid)
    if (plan.role === 'signer') this.#prepareSignerSocket(plan)
  }

  #prepareSignerSocket(plan: RolePlan): void {
    const folder = path.join(this.#options.dataDir, 'signer-socket')
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    const control = this.#options.plans.find((other) => other.role === 'control')
    if (plan.uid === undefined || control?.gid === undefined) return
    chownSync(folder, plan.uid, control.gid)
    // Group may pass through; set-group-ID gives the socket control's group.
    chmodSync(folder, 0o2710)
  }
}

function bindAll(
  addresses: Readonly<Record<string, string>>,
): Readonly<Record<string, BoundHandle>> {
  return Object.fromEntries(
    Object.entries(addresses).map(([name, address]) => [name, bind(address)]),
  )
}
