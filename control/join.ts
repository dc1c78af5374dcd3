// How agents and proxies become members: a join with a token and a CSR, renewals with the certificate they have. The generation
// in a certificate rises with each renewal; one that comes twice means that the identity was copied, and both copies are locked.

import { randomUUID } from 'node:crypto'

import { readPemOne } from '../core/cert/pem.ts'
import { errorCode, ProxyError } from '../core/errors.ts'
import type { SystemIdentity } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { AuditCheckpoint } from '../core/snapshot.ts'
import type { Caller } from './api/caller.ts'
import type { CallContext } from './api/handler.ts'
import type {
  HostCertificate,
  JoinReply,
  JoinRequest,
  ProxySelf,
  RenewRequest,
} from './api/messages.ts'
import { type Base, readStored, retryOnConflict } from './base.ts'
import type { Cache } from './cache.ts'
import { newLockName } from './documents.ts'
import type { Issuer } from './issue.ts'
import type { Heard, Presence } from './presence.ts'
import { PublicNames } from './public-names.ts'
import { hostKey, type HostRecord, hostSchema, resourceKey } from './records.ts'
import { parseResource } from './resources/resource.ts'
import type { TokenGrant, Tokens } from './tokens.ts'

export interface JoinParts {
  readonly base: Base
  readonly cache: Cache
  readonly tokens: Tokens
  readonly issuer: Issuer
  readonly presence: Presence
}

type Member = Extract<Caller, { kind: 'system' }>

export class Membership {
  readonly #parts: JoinParts
  readonly #names: PublicNames

  constructor(parts: JoinParts) {
    this.#parts = parts
    this.#names = new PublicNames(parts.base.cluster, () => parts.cache.hosts())
  }

  async join(request: JoinRequest, context: CallContext): Promise<JoinReply> {
    const { base, tokens } = this.#parts
    const grant = await tokens.find(request.token)
    const problem =
      grant === undefined ? 'the token is unknown, used or over' : joinProblem(request, grant)
    if (grant === undefined || problem !== undefined)
      throw await this.#refused(request, problem ?? '', context)
    const record: HostRecord = {
      id: randomUUID(),
      role: request.role,
      hostname: request.hostname,
      services: request.services,
      owner: grant.owner,
      ...(grant.targets === undefined ? {} : { targets: grant.targets }),
      ...(request.address === undefined ? {} : { address: request.address }),
      generation: 1,
      confirmed: 0,
      joinedAtMs: base.clock.now(),
    }
    const certificate = await this.#names.naming(record, context, async (named) => {
      // The CSR is read by the signer; a bad one must not cost a one-use token, so it signs first.
      const issued = await this.#certificate(named, request.csr, context)
      try {
        const revisions = await base.store.batch([
          ...grant.ops,
          { op: 'create', key: hostKey(record.id), value: JSON.stringify(named) },
        ])
        await this.#parts.cache.seen(Math.max(...revisions))
      } catch (error) {
        if (errorCode(error) !== 'resource.conflict') throw error
        throw await this.#refused(request, 'the token is unknown, used or over', context)
      }
      return issued
    })
    await context.audit('instance.join', 'TJ002I', {
      host_id: record.id,
      node_name: record.hostname,
      role: record.role,
      method: 'token',
      token_name: grant.shown,
    })
    return { id: record.id, cluster: base.cluster, ...certificate }
  }

  /** A new certificate for a member's new key; a proxy's with the name of the public address it has now. */
  async renew(
    { csr, address }: RenewRequest,
    caller: Member,
    context: CallContext,
  ): Promise<HostCertificate> {
    const { base, cache } = this.#parts
    const { id, generation, role } = caller.identity
    if (address !== undefined && role !== 'proxy')
      throw new ProxyError('resource.invalid', 'Only a proxy has a public address.', {
        side: 'client',
      })
    return await retryOnConflict(async () => {
      const stored = await readStored(base.store, hostKey(id), hostSchema)
      if (stored === undefined)
        throw new ProxyError('resource.not-found', 'This member was removed from the cluster.', {
          side: 'client',
          next: 'Join again with a new token.',
        })
      const { value: record } = stored
      // The answer to the last renewal may have been lost: the same generation is given again, until it was seen in use.
      const lost = generation === record.generation - 1 && record.confirmed < record.generation
      if (generation !== record.generation && !lost)
        throw await this.#copied(record, generation, context)
      const renewed: HostRecord = {
        ...record,
        ...(lost ? {} : { generation: generation + 1, confirmed: generation }),
        ...(address === undefined ? {} : { address }),
      }
      return await this.#names.naming(renewed, context, async (named) => {
        const value = JSON.stringify(named)
        const { revision } = stored
        await cache.seen(await base.store.put(hostKey(id), value, { revision }))
        return await this.#certificate(named, csr, context)
      })
    })
  }

  /** A member was heard of: its newest generation is in use. */
  async confirm(caller: Member): Promise<void> {
    const { base, cache, presence } = this.#parts
    const { id, generation } = caller.identity
    presence.heard(id)
    const known = cache.host(id)
    if (known === undefined || known.confirmed >= generation || known.generation !== generation)
      return
    await retryOnConflict(async () => {
      const stored = await readStored(base.store, hostKey(id), hostSchema)
      if (stored === undefined || stored.value.generation !== generation) return
      const value = JSON.stringify({ ...stored.value, confirmed: generation })
      await base.store.put(hostKey(id), value, { revision: stored.revision })
    })
  }

  /** A proxy says where it is and who is linked to it. */
  async proxySelf(report: ProxySelf, caller: Member, address: string): Promise<void> {
    const { base, cache, presence } = this.#parts
    await this.confirm(caller)
    presence.proxyAt(address)
    const { id } = caller.identity
    const { recordingsAtRisk } = report
    presence.heard(id, {
      ...heardOf(report.lockRevision, report.checkpoint),
      ...(recordingsAtRisk === undefined ? {} : { recordingsAtRisk }),
    })
    for (const agent of report.linkedAgents)
      presence.heard(agent, { ...heardOf(report.agentLockRevisions?.[agent]), hearsay: true })
    // Reports come every few seconds; the store is asked only when there is something to write.
    if (cache.host(id)?.address === report.address) return
    await retryOnConflict(async () => {
      const stored = await readStored(base.store, hostKey(id), hostSchema)
      if (stored === undefined || stored.value.address === report.address) return
      const value = JSON.stringify({ ...stored.value, address: report.address })
      await base.store.put(hostKey(id), value, { revision: stored.revision })
    })
  }

  async #certificate(
    record: HostRecord,
    csr: string,
    context: CallContext,
  ): Promise<HostCertificate> {
    const { base, cache, issuer } = this.#parts
    const identity: SystemIdentity = {
      type: 'system',
      role: record.role,
      id: record.id,
      cluster: base.cluster,
      services: record.services,
      generation: record.generation,
    }
    const issued = await issuer.host(
      {
        identity,
        csr: readPemOne('CERTIFICATE REQUEST', csr),
        ttlMs: max('hostCertTtlMs'),
        ...(record.publicName === undefined ? {} : { publicHost: record.publicName }),
      },
      context,
    )
    return {
      certificate: issued.chain,
      cas: cache.bundle,
      signers: cache.authorities.snapshot.map((spki) => Buffer.from(spki).toString('base64')),
      proxies: cache.snapshot.proxies.map((proxy) => proxy.address),
    }
  }

  /** Locks the member: whoever holds the copy, neither may go on. */
  async #copied(record: HostRecord, claimed: number, context: CallContext): Promise<ProxyError> {
    const { base, cache } = this.#parts
    const name = newLockName()
    const lock = parseResource({
      kind: 'lock',
      version: 'v2',
      metadata: { name, description: 'The identity was copied: an old generation came back.' },
      spec: {
        target: { server_id: record.id },
        message: 'its identity was copied; remove it and join it anew',
        created_at: new Date(base.clock.now()).toISOString(),
      },
    })
    await cache.seen(await base.store.create(resourceKey('lock', name), JSON.stringify(lock)))
    await context.audit('cert.generation_mismatch', 'TCB00W', {
      server_id: record.id,
      expected: record.generation,
      claimed,
      locked: true,
    })
    return new ProxyError(
      'login.locked',
      `The identity of ${record.hostname} was copied; it is locked.`,
      {
        side: 'client',
        next: 'Remove the lock, delete the member’s folder and join it with a new token.',
      },
    )
  }

  async #refused(request: JoinRequest, error: string, context: CallContext): Promise<ProxyError> {
    await context.audit('instance.join', 'TJ002E', {
      node_name: request.hostname,
      role: request.role,
      method: 'token',
      error,
    })
    return new ProxyError('policy.denied', `The join is refused: ${error}.`, {
      side: 'client',
      next: 'Make a new token with `tctl tokens add`.',
    })
  }
}

function heardOf(lockRevision?: number, checkpoint?: AuditCheckpoint): Heard {
  return {
    ...(lockRevision === undefined ? {} : { lockRevision }),
    ...(checkpoint === undefined ? {} : { checkpoint }),
  }
}

function joinProblem(request: JoinRequest, grant: TokenGrant): string | undefined {
  const wanted = request.role === 'proxy' ? ['proxy'] : request.services
  if (wanted.length === 0) return 'an agent names at least one service'
  const lacking = wanted.filter((service) => !grant.roles.includes(service))
  if (lacking.length > 0) return `the token is not for ${lacking.join(', ')}`
  if (request.role === 'agent' && request.services.includes('proxy')) return 'an agent is no proxy'
  return undefined
}
