// Who may serve which target name. A name belongs to the first token whose agent claimed it, or to an administrator's `db`
// resource; agents of the same token serve it together, anybody else is refused, audited and shown. A node's name is one machine's:
// it belongs to one agent. Labels that an agent reports count for its own names; a resource's labels take their place. Control alone
// builds the names that certificates carry.

import { readPemOne } from '../core/cert/pem.ts'
import { KIND_LABELS } from '../core/identity.ts'
import type { TargetKind } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import { isServedKind } from '../core/policy/compile.ts'
import { nodeNameProblem, targetLabel, targetNameProblem } from '../core/policy/names.ts'
import { listsName } from '../core/policy/select.ts'
import type { Caller } from './api/caller.ts'
import type { CallContext } from './api/handler.ts'
import type {
  AnnouncedTarget,
  DynamicTarget,
  InventoryReply,
  InventoryRequest,
  TargetStatus,
} from './api/messages.ts'
import { type Base, readStored, retryOnConflict } from './base.ts'
import type { Cache } from './cache.ts'
import {
  databaseResources,
  dynamicTarget,
  mayServeResource,
  type Selection,
  selectResources,
} from './dynamic-targets.ts'
import type { Issuer } from './issue.ts'
import type { Presence } from './presence.ts'
import { healthCheckFor } from './resources/health-check.ts'
import { nodeNameTaken } from './ssh-names.ts'
import type { TargetHealths } from './target-health.ts'
import {
  type HostRecord,
  RESOURCE_OWNER,
  targetKey,
  type TargetRecord,
  targetSchema,
} from './records.ts'

type Member = Extract<Caller, { kind: 'system' }>
type TargetState = Pick<TargetStatus, 'online' | 'status' | 'reason' | 'servers' | 'address'>
type Claim = { readonly record: TargetRecord } | { readonly reason: string; readonly owner: string }

interface Refused {
  readonly agent: string
  readonly atMs: number
  readonly reason: string
}

export interface TargetParts {
  readonly base: Base
  readonly cache: Cache
  readonly issuer: Issuer
  readonly presence: Presence
  readonly healths: TargetHealths
}

export class Targets {
  readonly #parts: TargetParts
  /** Refused claims by target, newest last. */
  readonly #refused = new Map<string, readonly Refused[]>()

  #localSelects: boolean

  /** `localSelects`: whether the file of control's own machine selects resources for the agent there. */
  constructor(parts: TargetParts, localSelects: boolean) {
    this.#parts = parts
    this.#localSelects = localSelects
  }

  selectLocally(on: boolean): void {
    this.#localSelects = on
  }

  /** An agent's whole list; what it no longer lists it no longer serves. */
  async announce(
    request: InventoryRequest,
    caller: Member,
    context: CallContext,
  ): Promise<InventoryReply> {
    const { cache, issuer, healths } = this.#parts
    const { id, services } = caller.identity
    const host = cache.host(id)
    // Before anything is read: what changes meanwhile must look new to the agent.
    const revision = cache.targetsRevision
    const selection = this.#select(request, host)
    const dynamic = selection.chosen.map(dynamicTarget)
    const accepted: TargetRecord[] = []
    const refused: { name: string; reason: string }[] = []
    for (const announced of [...request.targets, ...dynamic.map(asAnnounced)]) {
      const claim = await this.#claim(announced, id, host, services)
      if ('record' in claim) accepted.push(claim.record)
      else {
        refused.push({ name: announced.name, reason: claim.reason })
        await this.#tellRefused(announced, id, claim, context)
      }
    }
    this.#noteTurnedAway(id, selection)
    await this.#withdraw(id, accepted)
    healths.heard(id, request.health ?? [])
    const names = accepted.map(({ kind, label }) => ({ label, kindLabel: KIND_LABELS[kind] }))
    const chain =
      request.csr === undefined || names.length === 0
        ? undefined
        : (
            await issuer.target(
              { names, csr: readPemOne('CERTIFICATE REQUEST', request.csr), agentId: id },
              context,
            )
          ).chain
    const served = new Set(accepted.flatMap(({ kind, name }) => (kind === 'db' ? [name] : [])))
    return {
      accepted: accepted.map((record) => this.#asAccepted(record)),
      refused,
      dynamic: dynamic.filter(({ name }) => served.has(name)),
      revision,
      ...(chain === undefined ? {} : { certificate: chain }),
    }
  }

  /** Every known name with its owner, for `tctl db ls` and status. */
  list(): readonly TargetStatus[] {
    const { cache } = this.#parts
    const known = [...cache.targets()]
    // Also those that no agent serves yet: whoever has just created one looks for it here.
    const unserved = databaseResources(cache)
      .filter(({ metadata }) => cache.target('db', metadata.name) === undefined)
      .map((resource) => recordOf(asAnnounced(dynamicTarget(resource)), RESOURCE_OWNER, []))
    return [...known, ...unserved].map((record) => this.#asStatus(record))
  }

  #asStatus(record: TargetRecord): TargetStatus {
    const { kind, name, label, protocol, labels, owner, agents } = record
    return {
      kind,
      name,
      label,
      protocol,
      labels,
      owner,
      agents,
      ...(kind === 'node' ? this.#ofNode(record) : this.#ofDatabase(record)),
      refused: this.#refused.get(targetKey(kind, name)) ?? [],
    }
  }

  #ofDatabase(record: TargetRecord): TargetState {
    const { presence, healths } = this.#parts
    const { owner, agents } = record
    return {
      online: agents.some((agent) => presence.isOnline(agent)),
      ...healths.summary(record),
      ...(owner === RESOURCE_OWNER && agents.length === 0 ? UNSERVED : {}),
      servers: healths.servers(record),
    }
  }

  /** Nobody checks a node; one without an agent counts as there. */
  #ofNode({ agents, address }: TargetRecord): TargetState {
    const { presence } = this.#parts
    const online = address !== undefined || agents.some((agent) => presence.isOnline(agent))
    return {
      online,
      status: online ? 'unknown' : 'offline',
      reason: online ? '' : 'its agent has not been heard of',
      servers: [],
      ...(address === undefined ? {} : { address }),
    }
  }

  #asAccepted({ kind, name, label, labels }: TargetRecord): InventoryReply['accepted'][number] {
    if (kind !== 'db') return { kind, name, label }
    const checks = [...this.#parts.cache.kind('health_check_config').values()]
    const check = healthCheckFor(
      labels,
      checks.flatMap(({ resource }) => (resource.kind === 'health_check_config' ? [resource] : [])),
    )
    return { name, label, ...(check === undefined ? {} : { check }) }
  }

  #select({ selectors = [], targets }: InventoryRequest, host: HostRecord | undefined): Selection {
    if (host === undefined) return { chosen: [], turnedAway: [] }
    const announced = new Set(targets.map(({ name }) => name))
    return selectResources(this.#parts.cache, host, selectors, announced, this.#localSelects)
  }

  /** Shown to administrators, not audited: selecting is no claim. */
  #noteTurnedAway(agent: string, { turnedAway }: Selection): void {
    for (const { name, reason } of turnedAway) this.#note(targetKey('db', name), agent, reason)
  }

  async #claim(
    announced: AnnouncedTarget,
    agent: string,
    host: HostRecord | undefined,
    services: readonly string[],
  ): Promise<Claim> {
    const { base, cache } = this.#parts
    const problem = claimProblem(announced, host, services)
    if (host === undefined || problem !== undefined)
      return { reason: problem ?? 'this agent was removed from the cluster', owner: '' }
    return await retryOnConflict(async () => {
      const key = targetKey(announced.kind, announced.name)
      const stored = await readStored(base.store, key, targetSchema)
      const verdict = this.#judge(announced, agent, host, stored?.value)
      if (!('record' in verdict)) return verdict
      const value = JSON.stringify(verdict.record)
      // A heartbeat that says nothing new writes nothing.
      if (stored !== undefined && value === JSON.stringify(stored.value)) return verdict
      await cache.seen(await base.store.put(key, value, { revision: stored?.revision ?? 0 }))
      return verdict
    })
  }

  #judge(
    announced: AnnouncedTarget,
    agent: string,
    host: HostRecord,
    known: TargetRecord | undefined,
  ): Claim {
    if (announced.kind === 'node') return this.#judgeNode(announced, agent, known)
    const { kind, name, protocol, labels, description } = announced
    const resource = kind === 'db' ? this.#parts.cache.database(name) : undefined
    const listed = mayServeResource(host, name, this.#localSelects)
    // An administrator's resource admits agents whose token names it, whoever served the name before.
    if (resource !== undefined && !listed)
      return {
        reason: `"${name}" belongs to a db resource; the agent’s token must list it in targets`,
        owner: RESOURCE_OWNER,
      }
    const owner = resource === undefined ? host.owner : RESOURCE_OWNER
    // A name of a resource that is gone is free again.
    const orphan = known?.owner === RESOURCE_OWNER && resource === undefined
    const free = known === undefined || known.owner === owner || resource !== undefined || orphan
    if (!free) return { reason: `"${name}" belongs to another token’s agents`, owner: known.owner }
    const before = known === undefined || known.owner !== owner ? [] : known.agents
    const agents = before.includes(agent) ? before : [...before, agent].sort()
    const facts = resource ?? { protocol, labels, description }
    return { record: recordOf({ kind, name, ...facts }, owner, agents) }
  }

  /** A second machine of that name would be taken for the first by whoever types it. */
  #judgeNode(announced: AnnouncedTarget, agent: string, known: TargetRecord | undefined): Claim {
    const { name } = announced
    const { base, cache } = this.#parts
    const taken = nodeNameTaken(cache, base.cluster, name)
    if (taken !== undefined) return { reason: taken, owner: '' }
    const listed = cache.target('node', name)
    if (listed?.owner === RESOURCE_OWNER)
      return { reason: `"${name}" belongs to a node resource`, owner: RESOURCE_OWNER }
    if (known !== undefined && known.owner !== agent)
      return {
        reason: `"${name}" belongs to another agent; remove it with "tctl rm node/${name}" if that is gone`,
        owner: known.owner,
      }
    return { record: recordOf(announced, agent, [agent]) }
  }

  async #withdraw(agent: string, served: readonly TargetRecord[]): Promise<void> {
    const { base, cache } = this.#parts
    const kept = new Set(served.map(({ kind, name }) => targetKey(kind, name)))
    const left = [...cache.targets()].filter(
      ({ kind, name, agents }) => agents.includes(agent) && !kept.has(targetKey(kind, name)),
    )
    for (const { kind, name } of left) {
      await retryOnConflict(async () => {
        const stored = await readStored(base.store, targetKey(kind, name), targetSchema)
        if (stored === undefined) return
        const agents = stored.value.agents.filter((each) => each !== agent)
        const value = JSON.stringify({ ...stored.value, agents })
        await cache.seen(
          await base.store.put(targetKey(kind, name), value, { revision: stored.revision }),
        )
      })
    }
  }

  /** Remembers why an agent does not serve a name. True when that was known. */
  #note(key: string, agent: string, reason: string): boolean {
    const before = this.#refused.get(key) ?? []
    const others = before.filter((each) => each.agent !== agent)
    const atMs = this.#parts.base.clock.now()
    if (this.#refused.size < max('claimsRefusedMax') || before.length > 0)
      this.#refused.set(key, [...others, { agent, atMs, reason }].slice(-8))
    return before.some((each) => each.agent === agent && each.reason === reason)
  }

  /** Agents repeat themselves each minute: the first refusal is audited, later ones only move its time. */
  async #tellRefused(
    announced: AnnouncedTarget,
    agent: string,
    claim: { readonly reason: string; readonly owner: string },
    context: CallContext,
  ): Promise<void> {
    const key = targetKey(announced.kind, announced.name.slice(0, max('nameLengthMax')) || '-')
    if (this.#note(key, agent, claim.reason)) return
    await context.audit('target.claim_refused', 'SLT001W', {
      server_id: agent,
      target_kind: announced.kind,
      target_name: announced.name,
      owner: claim.owner,
      reason: claim.reason,
    })
  }
}

/** What an administrator may have to do about a resource. */
const UNSERVED = {
  reason: 'no agent serves it: db_service.resources of one must select its labels',
} as const

function recordOf(
  { kind, name, protocol, labels, description }: AnnouncedTarget,
  owner: string,
  agents: readonly string[],
): TargetRecord {
  return { kind, name, label: targetLabel(name), owner, protocol, labels, description, agents }
}

function asAnnounced({ name, protocol, labels, description }: DynamicTarget): AnnouncedTarget {
  return { kind: 'db', name, protocol, labels, description }
}

const SERVICE_OF: Readonly<Record<TargetKind, string>> = {
  db: 'db',
  node: 'node',
  app: 'app',
  kube_cluster: 'kube',
  windows_desktop: 'windowsdesktop',
}

function claimProblem(
  { kind, name }: AnnouncedTarget,
  host: HostRecord | undefined,
  services: readonly string[],
): string | undefined {
  if (!isServedKind(kind)) return `no service for ${kind} exists yet`
  const problem = kind === 'node' ? nodeNameProblem(name) : targetNameProblem(name)
  if (problem !== undefined) return problem
  if (!services.includes(SERVICE_OF[kind]))
    return `the agent’s token is not for ${SERVICE_OF[kind]}`
  if (host?.targets !== undefined && !listsName(host.targets, name))
    return `the agent’s token does not list "${name}"`
  return undefined
}
