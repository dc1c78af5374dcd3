// Invites and resets: a link that lets one person set password and one-time codes, once. The token is 16 random bytes; the store
// holds only its hash. Completing one is a single batch: the invite goes, the credentials appear, or nothing happens.

import { hash, randomBytes } from 'node:crypto'

import { ProxyError, errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { foldName } from '../../core/policy/names.ts'
import { userGenerationKey } from '../../core/policy/locks.ts'
import type { CallContext } from '../api/handler.ts'
import type { Invite, InviteAnswer } from '../api/messages.ts'
import { type Base, readStored, type Stored } from '../base.ts'
import {
  type Credentials,
  credentialsKey,
  credentialsSchema,
  generationKey,
  inviteKey,
  type InviteRecord,
  inviteSchema,
} from '../records.ts'
import type { StoreOp } from '../store/contract.ts'
import type { LoginAttempts } from './attempts.ts'
import { totpContext } from './local.ts'
import { passwordProblem, type Passwords } from './password.ts'
import { checkTotp, newTotpSecret, totpSecretText, totpUri } from './totp.ts'

export interface InviteParts {
  readonly base: Base
  readonly passwords: Passwords
  readonly attempts: LoginAttempts
}

export interface NewInvite {
  readonly token: string
  readonly expiresAtMs: number
}

export class Invites {
  readonly #parts: InviteParts

  constructor(parts: InviteParts) {
    this.#parts = parts
  }

  /**
   * An invite for a user, and the changes that belong to it: what the user had before no longer opens anything. The caller
   * commits them together with its own (the user resource).
   */
  async prepare(
    user: string,
    purpose: 'invite' | 'reset',
    ttlMs: number = max('inviteTtlMs'),
  ): Promise<{
    readonly invite: NewInvite
    readonly ops: readonly StoreOp[]
    readonly commit: () => void
  }> {
    if (ttlMs > max('inviteTtlMaxMs'))
      throw new ProxyError('resource.invalid', 'An invite lives at most 48 hours.', {
        side: 'client',
      })
    const { base, attempts } = this.#parts
    const before = await readStored(base.store, credentialsKey(user), credentialsSchema)
    const generation = (before?.value.generation ?? 0) + 1
    const token = randomBytes(16).toString('hex')
    const expiresAtMs = base.clock.now() + ttlMs
    const record: InviteRecord = {
      user,
      purpose,
      generation,
      sealed: base.secrets.seal(newTotpSecret(), totpContext(user)),
      expiresAtMs,
    }
    const empty: Credentials = { name: user, generation }
    return {
      invite: { token, expiresAtMs },
      ops: [
        { op: 'create', key: inviteKey(hashOf(token)), value: JSON.stringify(record), ttlMs },
        {
          op: 'put',
          key: credentialsKey(user),
          value: JSON.stringify(empty),
          revision: before?.revision ?? 0,
        },
        ...floor(user, generation),
      ],
      commit: () => attempts.forget(foldName(user)),
    }
  }

  async read(token: string): Promise<Invite> {
    const { value } = await this.#invite(token)
    const { base } = this.#parts
    const secret = base.secrets.open(value.sealed, totpContext(value.user))
    return {
      user: value.user,
      cluster: base.cluster,
      purpose: value.purpose,
      otpUri: totpUri(secret, base.cluster, value.user),
      otpSecret: totpSecretText(secret),
    }
  }

  async complete(answer: InviteAnswer, context: CallContext): Promise<{ readonly user: string }> {
    const { base, passwords } = this.#parts
    const { value: invite, revision } = await this.#invite(answer.token)
    const problem = passwordProblem(answer.password)
    if (problem !== undefined)
      throw new ProxyError('resource.invalid', `The password is refused: ${problem}.`, {
        side: 'client',
      })
    const secret = base.secrets.open(invite.sealed, totpContext(invite.user))
    const step = checkTotp(secret, answer.otp, base.clock.now(), 0)
    if (step === undefined)
      throw new ProxyError('login.failed', 'The one-time code is wrong.', {
        side: 'client',
        next: 'Check the clock of the device and enter the code it shows now.',
      })
    const credentials: Credentials = {
      name: invite.user,
      generation: invite.generation,
      password: await passwords.hash(answer.password),
      totp: { sealed: invite.sealed, usedStep: step },
    }
    const before = await readStored(base.store, credentialsKey(invite.user), credentialsSchema)
    // A later invite or reset of the same user has raised the generation: this link is void.
    if (before?.value.generation !== invite.generation) throw gone()
    await this.#commit(answer.token, revision, before, credentials)
    await context.audit('user.password_change', 'T1005I', { user: invite.user })
    await context.audit('mfa.add', 'T1006I', { user: invite.user, mfa_device: 'otp' })
    return { user: invite.user }
  }

  async #commit(
    token: string,
    revision: number,
    before: Stored<Credentials>,
    credentials: Credentials,
  ): Promise<void> {
    try {
      await this.#parts.base.store.batch([
        { op: 'delete', key: inviteKey(hashOf(token)), revision },
        {
          op: 'put',
          key: credentialsKey(credentials.name),
          value: JSON.stringify(credentials),
          revision: before.revision,
        },
      ])
    } catch (error) {
      throw errorCode(error) === 'resource.conflict' ? gone() : error
    }
  }

  async #invite(token: string): Promise<Stored<InviteRecord>> {
    const { store, clock } = this.#parts.base
    const stored = await readStored(store, inviteKey(hashOf(token)), inviteSchema)
    if (stored === undefined || clock.now() >= stored.value.expiresAtMs) throw gone()
    return stored
  }
}

/**
 * Certificates of earlier generations end everywhere with the lock set this changes. There are none before the first, and lock
 * sets name nobody without need.
 */
function floor(user: string, generation: number): readonly StoreOp[] {
  if (generation === 1) return []
  const key = generationKey(userGenerationKey('local', user))
  return [{ op: 'put', key, value: JSON.stringify(generation) }]
}

function hashOf(token: string): string {
  return hash('sha256', token, 'hex')
}

function gone(): ProxyError {
  return new ProxyError('resource.not-found', 'This link was used, has expired or never was.', {
    side: 'client',
    next: 'Ask an administrator for a new one.',
  })
}
