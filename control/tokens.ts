// Join tokens: drawn here or written by administrators (the resource `token`), or static ones of the configuration. Reading one
// for a join goes to the store, not to the cache, and a one-use token is taken by compare-and-swap. The owner of names that a
// joined agent serves is derived from the token, so that it outlives it.

import { hash, randomBytes, timingSafeEqual } from 'node:crypto'

import { errorCode, ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { CallContext } from './api/handler.ts'
import type { TokenReply, TokenRequest } from './api/messages.ts'
import type { Base } from './base.ts'
import type { Cache } from './cache.ts'
import { hidden } from './documents.ts'
import { resourceKey } from './records.ts'
import { parseResource } from './resources/resource.ts'
import type { StoreOp } from './store/contract.ts'

/** What a token lets its bearer become. */
export interface TokenGrant {
  /** `proxy`, `db`, … */
  readonly roles: readonly string[]
  /** Whose the names are that the bearer serves. */
  readonly owner: string
  /** Only these names; absent: any free one. */
  readonly targets?: readonly string[]
  readonly shown: string
  /** To be committed with the join: takes a one-use token, and fails when it is gone. */
  readonly ops: readonly StoreOp[]
}

/** A token of the configuration file: `db,node:secret`. */
export interface StaticToken {
  readonly roles: readonly string[]
  readonly secret: string
}

/** One-use tokens for processes of control's own machine share an owner: their folder may be lost and joined anew. */
export const LOCAL_OWNER = 'local'
const LOCAL_LABEL = 'sluice.dev/local'

/** Reads `db,node:secret` lines of the configuration. */
export function staticTokens(lines: readonly string[]): readonly StaticToken[] {
  return lines.map((line) => {
    const colon = line.indexOf(':')
    const roles = line.slice(0, colon).toLowerCase().split(',')
    return { roles, secret: line.slice(colon + 1) }
  })
}

export class Tokens {
  readonly #base: Base
  readonly #cache: Cache
  #static: readonly StaticToken[]

  constructor(base: Base, cache: Cache, fixed: readonly StaticToken[]) {
    this.#base = base
    this.#cache = cache
    this.#static = fixed
  }

  setStatic(fixed: readonly StaticToken[]): void {
    this.#static = fixed
  }

  async create(request: TokenRequest, context: CallContext): Promise<TokenReply> {
    const ttlMs = request.ttlMs ?? max('tokenTtlMs')
    const { token, expiresAtMs } = await this.#write(request, ttlMs, {})
    await context.audit('join_token.create', 'TJT00I', {
      name: hidden(token),
      roles: request.roles,
      join_method: 'token',
      expires: new Date(expiresAtMs).toISOString(),
    })
    const { bundle, snapshot } = this.#cache
    const proxies = snapshot.proxies.map(({ address }) => address)
    return { token, proxies, pins: bundle.pins, expiresAtMs }
  }

  /** For a role of this machine, asked by the supervisor: one use, minutes, never written to a file. */
  async createLocal(role: 'proxy' | 'agent', services: readonly string[]): Promise<TokenReply> {
    const roles = role === 'proxy' ? ['proxy'] : services
    const { token, expiresAtMs } = await this.#write({ roles }, max('tokenTtlMs'), { local: true })
    await this.#base.audit('join_token.create', 'TJT00I', {
      name: hidden(token),
      roles,
      join_method: 'token',
      expires: new Date(expiresAtMs).toISOString(),
      updated_by: '@local',
    })
    return { token, pins: this.#cache.bundle.pins, expiresAtMs }
  }

  /** What a token grants; undefined when it is unknown, over or used. */
  async find(token: string): Promise<TokenGrant | undefined> {
    const fixed = this.#static.find(({ secret }) => sameText(secret, token))
    if (fixed !== undefined)
      return { roles: fixed.roles, owner: ownerOf(token), shown: hidden(token), ops: [] }
    if (!/^[A-Za-z0-9_-]{16,128}$/.test(token)) return undefined
    const key = resourceKey('token', token)
    const item = await this.#base.store.get(key)
    if (item === undefined) return undefined
    const resource = parseResource(JSON.parse(item.value))
    if (resource.kind !== 'token') return undefined
    const { metadata, spec } = resource
    const nowMs = this.#base.clock.now()
    if (metadata.expires !== undefined && nowMs >= Date.parse(metadata.expires)) return undefined
    const local = metadata.labels?.[LOCAL_LABEL] === 'true'
    const { revision } = item
    return {
      roles: spec.roles,
      owner: local ? LOCAL_OWNER : ownerOf(token),
      shown: hidden(token),
      ...(spec.targets === undefined ? {} : { targets: spec.targets }),
      // A token for many joins must still be there when the join commits.
      ops: [
        spec.one_use === true ? { op: 'delete', key, revision } : { op: 'check', key, revision },
      ],
    }
  }

  async #write(
    request: Pick<TokenRequest, 'roles' | 'name' | 'targets'>,
    ttlMs: number,
    { local = false }: { readonly local?: boolean },
  ): Promise<{ readonly token: string; readonly expiresAtMs: number }> {
    const token = request.name ?? randomBytes(16).toString('hex')
    const expiresAtMs = this.#base.clock.now() + ttlMs
    const resource = parseResource({
      kind: 'token',
      version: 'v2',
      metadata: {
        name: token,
        expires: new Date(expiresAtMs).toISOString(),
        ...(local ? { labels: { [LOCAL_LABEL]: 'true' } } : {}),
      },
      spec: {
        roles: [...request.roles],
        join_method: 'token',
        ...(local ? { one_use: true } : {}),
        ...(request.targets === undefined ? {} : { targets: [...request.targets] }),
      },
    })
    try {
      const revision = await this.#base.store.create(
        resourceKey('token', token),
        JSON.stringify(resource),
        { ttlMs },
      )
      await this.#cache.seen(revision)
    } catch (error) {
      if (errorCode(error) !== 'resource.conflict') throw error
      throw new ProxyError('resource.conflict', 'There is a token of that name already.', {
        side: 'client',
      })
    }
    return { token, expiresAtMs }
  }
}

/** Says nothing of the token, and is the same for everybody who joined with it. */
function ownerOf(token: string): string {
  return `token:${hash('sha256', `sluice owner\0${token}`, 'hex').slice(0, 20)}`
}

function sameText(a: string, b: string): boolean {
  return timingSafeEqual(hash('sha256', a, 'buffer'), hash('sha256', b, 'buffer'))
}
