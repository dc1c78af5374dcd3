// Local users from the administrator's side: create with an invite, reset. The user resource, the invite and the end of older
// credentials are one batch, so a crash leaves no user without a way in and no old password behind a reset.

import { errorCode, ProxyError } from '../core/errors.ts'
import { userNameProblem } from '../core/policy/names.ts'
import type { CallContext } from './api/handler.ts'
import type { InviteReply, UserRequest } from './api/messages.ts'
import type { Base } from './base.ts'
import type { Cache } from './cache.ts'
import type { Documents } from './documents.ts'
import type { Invites, NewInvite } from './login/invites.ts'
import { parseResource } from './resources/resource.ts'

export interface UserParts {
  readonly base: Base
  readonly cache: Cache
  readonly documents: Documents
  readonly invites: Invites
  /** `https://host:port` of the pages, where invites are completed; undefined while no proxy joined. */
  readonly pagesUrl: () => string | undefined
}

export class Users {
  readonly #parts: UserParts

  constructor(parts: UserParts) {
    this.#parts = parts
  }

  async create(request: UserRequest, context: CallContext): Promise<InviteReply> {
    const problem = userNameProblem(request.name)
    if (problem !== undefined) throw new ProxyError('resource.invalid', problem, { side: 'client' })
    const { base, cache, documents, invites } = this.#parts
    const resource = parseResource({
      kind: 'user',
      version: 'v2',
      metadata: { name: request.name },
      spec: {
        roles: [...request.roles],
        traits: request.traits,
        created_by: { time: new Date(base.clock.now()).toISOString() },
      },
    })
    const creation = documents.newUser(resource)
    const { invite, ops } = await invites.prepare(request.name, 'invite', request.ttlMs)
    try {
      await cache.seen(Math.max(...(await base.store.batch([creation, ...ops]))))
    } catch (error) {
      if (errorCode(error) !== 'resource.conflict') throw error
      throw new ProxyError('resource.conflict', `There is a user "${request.name}" already.`, {
        side: 'client',
        next: `\`tctl users reset ${request.name}\` gives an existing user a new invite.`,
      })
    }
    await context.audit('user.create', 'T1002I', { name: request.name, roles: request.roles })
    return await this.#told(request.name, invite, context)
  }

  /** Removes password and second factor, ends the user's certificates, and invites anew. */
  async reset(name: string, ttlMs: number | undefined, context: CallContext): Promise<InviteReply> {
    const { base, cache, invites } = this.#parts
    const user = cache.user(name)
    if (user === undefined)
      throw new ProxyError('resource.not-found', `There is no user "${name}".`, { side: 'client' })
    const { invite, ops, commit } = await invites.prepare(user.name, 'reset', ttlMs)
    await cache.seen(Math.max(...(await base.store.batch(ops))))
    commit()
    return await this.#told(user.name, invite, context)
  }

  async #told(user: string, invite: NewInvite, context: CallContext): Promise<InviteReply> {
    const { cache, pagesUrl, base } = this.#parts
    await context.audit('reset_password_token.create', 'T6000I', {
      name: user,
      expires: new Date(invite.expiresAtMs).toISOString(),
    })
    const pages = pagesUrl() ?? `https://${base.cluster}`
    return {
      invite: { ...invite, url: `${pages}/web/invite/${invite.token}` },
      pins: cache.bundle.pins,
    }
  }
}
