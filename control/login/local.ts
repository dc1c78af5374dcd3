// The login of local users: password and one-time code together, one answer for every way of being wrong, the same work for
// users who do not exist. A code is used up by compare-and-swap, so it cannot be used twice even at the same moment.

import { ProxyError, errorCode } from '../../core/errors.ts'
import { lockText, matchLock } from '../../core/policy/locks.ts'
import { foldName, userNameProblem } from '../../core/policy/names.ts'
import { readPublicBlob } from '../../core/ssh/key.ts'
import type { CallContext } from '../api/handler.ts'
import type { LoginReply, LoginRequest } from '../api/messages.ts'
import { type Base, readStored, type Stored } from '../base.ts'
import type { Certificates } from '../certificates.ts'
import type { Directory } from '../directory.ts'
import { type Credentials, credentialsKey, credentialsSchema } from '../records.ts'
import type { SshCertificates } from '../ssh-certificates.ts'
import type { LoginAttempts } from './attempts.ts'
import type { Passwords } from './password.ts'
import { checkTotp } from './totp.ts'

/** Sealed under this, with the folded name. */
export function totpContext(user: string): string {
  return `totp:local/${foldName(user)}`
}

export interface LoginParts {
  readonly base: Base
  readonly directory: Directory
  readonly passwords: Passwords
  readonly attempts: LoginAttempts
  readonly certificates: Certificates
  readonly ssh: SshCertificates
}

export class LocalLogin {
  readonly #parts: LoginParts

  constructor(parts: LoginParts) {
    this.#parts = parts
  }

  async login(request: LoginRequest, context: CallContext): Promise<LoginReply> {
    const { base, directory, attempts, certificates, ssh } = this.#parts
    // Before the code is used up: who sends what is no key may try again at once.
    if (request.sshPublicKey !== undefined)
      readPublicBlob(Buffer.from(request.sshPublicKey, 'base64'))
    const account = foldName(request.user)
    const waitMs = attempts.waitMs(account, context.source)
    if (waitMs > 0) throw await this.#refused(request, context, tooMany(waitMs))
    attempts.begin(account, context.source)
    const proof = await this.#proveOrAbandon(request, account, context)
    if (proof === undefined) throw await this.#refused(request, context, wrong())
    attempts.succeeded(account, context.source)
    const user = directory.user(request.user)
    if (user === undefined) throw await this.#refused(request, context, wrong())
    const nowMs = base.clock.now()
    const lock = matchLock(directory.lockSet, { user: user.name, roles: user.roles }, nowMs)
    if (lock !== undefined)
      throw await this.#refused(
        request,
        context,
        new ProxyError('login.locked', lockText(lock), { side: 'client' }),
      )
    await context.audit('user.login', 'T1000I', {
      user: user.name,
      user_kind: 1,
      user_roles: user.roles,
      success: true,
      method: 'local',
      mfa_device: 'otp',
    })
    const issued = await certificates.login(
      user,
      {
        spki: Buffer.from(request.publicKey, 'base64'),
        generation: proof.generation,
        mfaAtMs: nowMs,
        ...(request.ttlMs === undefined ? {} : { ttlMs: request.ttlMs }),
      },
      context,
    )
    const { sshPublicKey } = request
    return {
      certificate: issued.chain,
      ...(sshPublicKey === undefined
        ? {}
        : { ssh: await ssh.login(issued, sshPublicKey, context) }),
      cas: directory.bundle,
      cluster: base.cluster,
      proxies: directory.snapshot.proxies.map((proxy) => proxy.address),
      expiresAtMs: issued.expiresAtMs,
    }
  }

  async #proveOrAbandon(
    request: LoginRequest,
    account: string,
    context: CallContext,
  ): Promise<Credentials | undefined> {
    try {
      return await this.#prove(request)
    } catch (error) {
      this.#parts.attempts.abandoned(account, context.source)
      throw error
    }
  }

  /** The credentials when both factors are right; the code is then used up. */
  async #prove(request: LoginRequest): Promise<Credentials | undefined> {
    const { base, passwords } = this.#parts
    const stored = await this.#credentials(request.user)
    const credentials = stored?.value
    const password = await passwords.matches(request.password, credentials?.password)
    const step = this.#totpStep(request, credentials)
    if (!password || step === undefined || stored === undefined || credentials?.totp === undefined)
      return undefined
    const used: Credentials = { ...credentials, totp: { ...credentials.totp, usedStep: step } }
    try {
      await base.store.put(credentialsKey(request.user), JSON.stringify(used), {
        revision: stored.revision,
      })
      return used
    } catch (error) {
      // Somebody else used this code, or the credentials were reset, at the same moment.
      if (errorCode(error) === 'resource.conflict') return undefined
      throw error
    }
  }

  async #credentials(user: string): Promise<Stored<Credentials> | undefined> {
    // A name nobody can have is looked up all the same, under one that nobody has.
    const key = credentialsKey(userNameProblem(user) === undefined ? user : '@nobody')
    return await readStored(this.#parts.base.store, key, credentialsSchema)
  }

  #totpStep(request: LoginRequest, credentials: Credentials | undefined): number | undefined {
    const { base } = this.#parts
    const nowMs = base.clock.now()
    if (credentials?.totp === undefined) {
      checkTotp(DECOY, request.otp, nowMs, 0)
      return undefined
    }
    const secret = base.secrets.open(credentials.totp.sealed, totpContext(credentials.name))
    return checkTotp(secret, request.otp, nowMs, credentials.totp.usedStep)
  }

  async #refused(
    request: LoginRequest,
    context: CallContext,
    error: ProxyError,
  ): Promise<ProxyError> {
    await context.audit('user.login', 'T1000W', {
      user: userNameProblem(request.user) === undefined ? request.user : '',
      success: false,
      method: 'local',
      error: error.message,
    })
    return error
  }
}

const DECOY = new Uint8Array(20)

function wrong(): ProxyError {
  return new ProxyError('login.failed', 'User name, password or one-time code is wrong.', {
    side: 'client',
    next: 'Try again with a new code. Whoever lost their device asks an administrator for `tctl users reset`.',
  })
}

function tooMany(waitMs: number): ProxyError {
  const minutes = Math.ceil(waitMs / 60_000)
  return new ProxyError('limit.exceeded', `Too many failed logins; wait ${minutes} minutes.`, {
    side: 'client',
    retry: true,
    next: 'Wait, or ask an administrator for `tctl users reset`.',
  })
}
