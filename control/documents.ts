// Resources as people write them (`tctl get/create/edit/rm`): stored documents with compare-and-swap by revision, each change
// audited under the event of its kind. Rules between resources are kept here: a user's roles exist, a role in use stays, a user
// who goes takes their certificates with them.

import { randomUUID } from 'node:crypto'

import { errorCode, ProxyError } from '../core/errors.ts'
import { userGenerationKey } from '../core/policy/locks.ts'
import { foldName } from '../core/policy/names.ts'
import type { CallContext } from './api/handler.ts'
import type { JsonObject, ResourceReply } from './api/messages.ts'
import { type Base, readStored } from './base.ts'
import type { Cache, StoredResource } from './cache.ts'
import { ORIGIN } from './genesis.ts'
import { announcedNode, announcedNodes, nodeProblemHere } from './node-documents.ts'
import {
  type Credentials,
  credentialsKey,
  credentialsSchema,
  generationKey,
  RESOURCE_OWNER,
  resourceKey,
  targetKey,
} from './records.ts'
import { nodeHostname, type NodeResource } from './resources/node.ts'
import {
  parseResource,
  type Resource,
  type ResourceKind,
  resourceKind,
  singletonOf,
} from './resources/resource.ts'
import { warnings } from './resources/table.ts'
import type { StoreOp } from './store/contract.ts'

type Verb = 'create' | 'update' | 'delete'

/** Event and code of each change. */
const EVENTS: Readonly<Record<ResourceKind, Readonly<Record<Verb, readonly [string, string]>>>> = {
  user: {
    create: ['user.create', 'T1002I'],
    update: ['user.update', 'T1003I'],
    delete: ['user.delete', 'T1004I'],
  },
  role: {
    create: ['role.created', 'T9000I'],
    update: ['role.updated', 'T9002I'],
    delete: ['role.deleted', 'T9001I'],
  },
  token: {
    create: ['join_token.create', 'TJT00I'],
    update: ['join_token.create', 'TJT00I'],
    delete: ['token.delete', 'SLC001I'],
  },
  db: {
    create: ['db.create', 'TDB03I'],
    update: ['db.update', 'TDB04I'],
    delete: ['db.delete', 'TDB05I'],
  },
  node: {
    create: ['node.create', 'SLN001I'],
    update: ['node.update', 'SLN002I'],
    delete: ['node.delete', 'SLN003I'],
  },
  lock: {
    create: ['lock.created', 'TLK00I'],
    update: ['lock.created', 'TLK00I'],
    delete: ['lock.deleted', 'TLK01I'],
  },
  health_check_config: {
    create: ['health_check_config.create', 'THCC001I'],
    update: ['health_check_config.update', 'THCC002I'],
    delete: ['health_check_config.delete', 'THCC003I'],
  },
  cluster_auth_preference: always('auth_preference.update', 'TCAUTH001I'),
  session_recording_config: always('session_recording_config.update', 'TCREC003I'),
  cluster_networking_config: always('cluster_networking_config.update', 'TCNET002I'),
}

function always(name: string, code: string): Readonly<Record<Verb, readonly [string, string]>> {
  return { create: [name, code], update: [name, code], delete: [name, code] }
}

export class Documents {
  readonly #base: Base
  readonly #cache: Cache

  constructor(base: Base, cache: Cache) {
    this.#base = base
    this.#cache = cache
  }

  list(word: string): readonly JsonObject[] {
    const kind = kindOf(word)
    const stored = [...this.#cache.kind(kind).values()].map(documentOf)
    return kind === 'node' ? [...stored, ...announcedNodes(this.#cache).map(asJson)] : stored
  }

  get(word: string, name: string): ResourceReply {
    const kind = kindOf(word)
    const announced = this.#announced(kind, name)
    if (announced !== undefined) return { document: asJson(announced), warnings: [] }
    const stored = this.#find(kind, name)
    return { document: documentOf(stored), warnings: warnings(stored.resource) }
  }

  async create(word: string, document: JsonObject, context: CallContext): Promise<ResourceReply> {
    const resource = this.#checked(kindOf(word), document)
    return await this.#write(resource, 0, context)
  }

  /** Needs the revision that was read, unless forced. */
  async put(
    word: string,
    name: string,
    document: JsonObject,
    force: boolean,
    context: CallContext,
  ): Promise<ResourceReply> {
    const resource = this.#checked(kindOf(word), document)
    if (storeName(resource.kind, name) !== storeName(resource.kind, resource.metadata.name))
      throw invalid('the name in the document is not the name in the path')
    const known = this.#cache.kind(resource.kind).get(storeName(resource.kind, name))
    if (force) return await this.#write(resource, undefined, context, known !== undefined)
    const revision = Number(resource.metadata.revision)
    if (!Number.isSafeInteger(revision))
      throw invalid('metadata.revision is missing: get the resource first, or use --force')
    return await this.#write(resource, revision, context)
  }

  async delete(word: string, name: string, context: CallContext): Promise<void> {
    const kind = kindOf(word)
    const announced = this.#announced(kind, name)
    if (announced !== undefined) return await this.#forget(announced, context)
    const stored = this.#find(kind, name)
    if (kind === 'role') this.#refuseWhileHeld(stored.resource.metadata.name)
    const key = resourceKey(kind, storeName(kind, name))
    const ops: StoreOp[] = [{ op: 'delete', key, revision: stored.revision }]
    if (kind === 'user') ops.push(...(await this.#endOf(stored.resource.metadata.name)))
    if (kind === 'db') ops.push(...this.#nameOf(stored.resource.metadata.name))
    await this.#committed(await this.#base.store.batch(ops))
    await this.#audit('delete', stored.resource, context)
  }

  /** Frees a node's name of the agent that has it. One that is still there claims it again within a minute. */
  async #forget(node: NodeResource, context: CallContext): Promise<void> {
    const key = targetKey('node', node.metadata.name)
    await this.#committed(await this.#base.store.batch([{ op: 'delete', key }]))
    await this.#audit('delete', node, context)
  }

  /** What an administrator wrote under this name comes first. */
  #announced(kind: ResourceKind, name: string): NodeResource | undefined {
    if (kind !== 'node' || this.#cache.kind('node').has(name)) return undefined
    return announcedNode(this.#cache, name)
  }

  #checkNode(resource: Resource): void {
    if (resource.kind !== 'node') return
    const problem = nodeProblemHere(this.#cache, this.#base.cluster, resource)
    if (problem !== undefined) throw invalid(problem)
  }

  /** The change of a user resource as one operation, for whoever commits more with it. */
  newUser(resource: Resource): StoreOp {
    this.#checkRoles(resource)
    const key = resourceKey('user', storeName('user', resource.metadata.name))
    return { op: 'create', key, value: JSON.stringify(resource) }
  }

  #checked(kind: ResourceKind, document: JsonObject): Resource {
    const resource = parseResource(document)
    if (resource.kind !== kind) throw invalid(`the document is a ${resource.kind}, not a ${kind}`)
    this.#checkRoles(resource)
    this.#checkNode(resource)
    return resource
  }

  async #write(
    resource: Resource,
    revision: number | undefined,
    context: CallContext,
    exists: boolean = revision !== undefined && revision > 0,
  ): Promise<ResourceReply> {
    const { kind, metadata } = resource
    const key = resourceKey(kind, storeName(kind, metadata.name))
    const ttlMs = this.#ttlOf(resource)
    const options = {
      ...(revision === undefined ? {} : { revision }),
      ...(ttlMs === undefined ? {} : { ttlMs }),
    }
    const stored: Resource = { ...resource, metadata: kept(metadata) }
    const written = await this.#base.store
      .put(key, JSON.stringify(stored), options)
      .catch((error: unknown) => {
        throw errorCode(error) === 'resource.conflict'
          ? conflict(kind, metadata.name, revision)
          : error
      })
    await this.#committed([written])
    await this.#audit(exists ? 'update' : 'create', resource, context)
    return {
      document: documentOf({ resource: stored, revision: written }),
      warnings: warnings(resource),
    }
  }

  /** Locks end by their own date in every lock set; the stored document goes with it. */
  #ttlOf({ kind, metadata, spec }: Resource): number | undefined {
    // A user ends by date too, but must stay until somebody deletes it: deleting raises the generation.
    if (kind === 'user') return undefined
    const own = kind === 'lock' ? spec.expires : undefined
    const times = [metadata.expires, own].flatMap((time) =>
      time === undefined ? [] : [Date.parse(time)],
    )
    if (times.length === 0) return undefined
    const ttlMs = Math.min(...times) - this.#base.clock.now()
    if (ttlMs <= 0) throw invalid('it has expired already')
    return ttlMs
  }

  /** Certificates of a deleted user end at once, also when a user of the same name comes later. */
  async #endOf(name: string): Promise<readonly StoreOp[]> {
    const credentials = await readStored(this.#base.store, credentialsKey(name), credentialsSchema)
    const generation = (credentials?.value.generation ?? 0) + 1
    const ended: Credentials = { name, generation }
    return [
      {
        op: 'put',
        key: credentialsKey(name),
        value: JSON.stringify(ended),
        revision: credentials?.revision ?? 0,
      },
      {
        op: 'put',
        key: generationKey(userGenerationKey('local', name)),
        value: JSON.stringify(generation),
      },
    ]
  }

  /** The name of a database goes with its resource: it is routed no more, and free for the next. */
  #nameOf(name: string): readonly StoreOp[] {
    const owned = this.#cache.target('db', name)?.owner === RESOURCE_OWNER
    return owned ? [{ op: 'delete', key: targetKey('db', name) }] : []
  }

  #checkRoles(resource: Resource): void {
    if (resource.kind !== 'user') return
    const known = this.#cache.kind('role')
    const lacking = resource.spec.roles.filter((role) => !known.has(role))
    if (lacking.length > 0) throw invalid(`there is no role ${lacking.join(', ')}`)
  }

  #refuseWhileHeld(role: string): void {
    for (const { resource } of this.#cache.kind('user').values())
      if (resource.kind === 'user' && resource.spec.roles.includes(role))
        throw new ProxyError(
          'resource.conflict',
          `The role ${role} is held by the user ${resource.metadata.name}.`,
          {
            side: 'client',
            next: 'Take it from its users first.',
          },
        )
  }

  #find(kind: ResourceKind, name: string): StoredResource {
    const stored = this.#cache.kind(kind).get(storeName(kind, name))
    if (stored !== undefined) return stored
    throw new ProxyError('resource.not-found', `There is no ${kind} "${name}".`, { side: 'client' })
  }

  async #committed(revisions: readonly number[]): Promise<void> {
    await this.#cache.seen(Math.max(...revisions))
  }

  async #audit(verb: Verb, resource: Resource, context: CallContext): Promise<void> {
    const [event, code] = EVENTS[resource.kind][verb]
    await context.audit(event, code, auditFields(resource))
  }
}

/** Without the revision, which is the store's, and the mark of the configuration file: from now on people write it. */
function kept({ revision: _, labels, ...rest }: Resource['metadata']): Resource['metadata'] {
  if (labels === undefined) return rest
  const { [ORIGIN]: _file, ...own } = labels
  return Object.keys(own).length === 0 ? rest : { ...rest, labels: own }
}

function auditFields(resource: Resource): Readonly<Record<string, unknown>> {
  const { metadata } = resource
  const common = { name: metadata.name, expires: metadata.expires }
  switch (resource.kind) {
    case 'user':
      return { ...common, roles: resource.spec.roles }
    case 'token':
      // The name is the secret.
      return {
        ...common,
        name: hidden(metadata.name),
        roles: resource.spec.roles,
        join_method: 'token',
        kind: 'token',
      }
    case 'lock':
      return {
        ...common,
        target: resource.spec.target,
        message: resource.spec.message,
        expires: resource.spec.expires ?? metadata.expires,
      }
    case 'db':
      return {
        ...common,
        db_service: metadata.name,
        db_protocol: resource.spec.protocol,
        db_labels: metadata.labels,
      }
    case 'node':
      return {
        ...common,
        server_hostname: nodeHostname(resource),
        server_addr: resource.spec.addr,
        server_labels: metadata.labels,
      }
    case 'role':
      return common
    case 'health_check_config':
    case 'cluster_auth_preference':
    case 'session_recording_config':
    case 'cluster_networking_config':
      return { ...common, changed: resource.spec }
  }
}

/** A token as it is shown where it must not be readable. */
export function hidden(token: string): string {
  return `${token.slice(0, 4)}********`
}

/** A name for a lock nobody named. */
export function newLockName(): string {
  return randomUUID()
}

function documentOf({ resource, revision }: StoredResource): JsonObject {
  return asJson({ ...resource, metadata: { ...resource.metadata, revision: String(revision) } })
}

/** Resources are JSON by their schemas; the type says less. */
function asJson(resource: Resource): JsonObject {
  return resource as unknown as JsonObject
}

function kindOf(word: string): ResourceKind {
  const kind = resourceKind(word)
  if (kind !== undefined) return kind
  throw new ProxyError('resource.not-found', `There is no resource kind "${word}".`, {
    side: 'client',
  })
}

/** People are unique whatever the spelling; of singletons there is one. */
function storeName(kind: ResourceKind, name: string): string {
  return singletonOf(kind) ?? (kind === 'user' ? foldName(name) : name)
}

function conflict(kind: string, name: string, revision: number | undefined): ProxyError {
  return revision === 0
    ? new ProxyError('resource.conflict', `There is a ${kind} "${name}" already.`, {
        side: 'client',
        next: 'Use `tctl edit`, or `tctl create -f` to replace it.',
      })
    : new ProxyError('resource.conflict', `The ${kind} "${name}" was changed since it was read.`, {
        side: 'client',
        next: 'Get it again and repeat the change.',
      })
}

function invalid(reason: string): ProxyError {
  return new ProxyError('resource.invalid', `The resource is refused: ${reason}.`, {
    side: 'client',
  })
}
