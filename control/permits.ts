// Permits for proxies: what lets one forwarded certificate that names no target reach one, through this proxy, for at most an hour
// (core/permit.ts). Decided here as an agent would decide, on what control knows now; the agent decides again. The proxy shows a
// certificate and no proof of its key: it can only replay people who came to it, which terminate mode admits anyway.

import { randomBytes } from 'node:crypto'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { authorize, certificateEndMs, type LoginOutcome, modeInForce } from '../core/login.ts'
import { type Permit, permitBody, writePermit } from '../core/permit.ts'
import { isVisible, reachOf } from '../core/policy/reach.ts'
import type { Target } from '../core/snapshot.ts'
import { newDecisionId } from '../core/ulid.ts'
import type { CallContext } from './api/handler.ts'
import type { PermitReply, PermitRequest } from './api/messages.ts'
import type { Base } from './base.ts'
import { asTarget } from './certificates.ts'
import type { Directory } from './directory.ts'
import { readShown, type ShownPerson } from './shown-certificate.ts'

export class Permits {
  readonly #base: Base
  readonly #directory: Directory

  constructor(base: Base, directory: Directory) {
    this.#base = base
    this.#directory = directory
  }

  async give(request: PermitRequest, context: CallContext): Promise<PermitReply> {
    const base = this.#base
    if (context.caller.kind !== 'system') throw denied('Only proxies get permits.')
    const proxyId = context.caller.identity.id
    const person = readShown(base, this.#directory, request.userCertificate)
    const target = this.#visible(person, request)
    if (modeInForce(this.#directory.config) !== 'terminate')
      throw denied('Sessions of this cluster end at agents, which need no permit.')
    const nowMs = base.clock.now()
    const endMs = Math.min(
      person.facts.notAfterMs,
      certificateEndMs(person.identity, person.facts),
      nowMs + max('permitTtlMaxMs'),
    )
    const permit: Permit = {
      certificate: person.facts.fingerprint,
      target: target.ref,
      proxyId,
      expiresAtMs: endMs,
    }
    const decisionId = newDecisionId(nowMs, randomBytes(10))
    const outcome = this.#decide(person, target, permit, decisionId, request.principal)
    const who = { ...personFields(person), server_id: proxyId, decision_id: decisionId }
    if (outcome.right === undefined) {
      const { reason } = outcome.refusal
      const deny = { ...who, db_service: target.ref.name, decision: outcome.explanation, reason }
      await context.audit('decision.deny', 'SLP001W', deny)
      throw denied(reason)
    }
    const body = permitBody(permit)
    const bytes = writePermit(body, await base.signer.signPermit(body))
    await context.audit('permit.create', 'SLP002I', {
      ...who,
      target_kind: target.ref.kind,
      target_name: target.ref.name,
      certificate_serial: person.facts.serial,
      certificate_fingerprint: person.facts.fingerprint,
      expires: new Date(endMs).toISOString(),
    })
    return { permit: Buffer.from(bytes).toString('base64'), expiresAtMs: endMs }
  }

  /** The same answer for what does not exist and for what the person may not see. */
  #visible({ identity }: ShownPerson, { target }: PermitRequest): Target {
    const record = this.#directory.target(target.kind, target.name)
    const found = record === undefined ? undefined : asTarget(record)
    if (found !== undefined && isVisible(identity, found, this.#directory.compiled)) return found
    throw new ProxyError(
      'resource.not-found',
      `There is no ${target.kind} "${target.name}" that the roles of this user let them see.`,
      { side: 'client' },
    )
  }

  /** With every user and name the roles offer, as far as the proxy does not know which: the agent decides on the real ones. */
  #decide(
    { identity, facts, keySha256 }: ShownPerson,
    target: Target,
    permit: Permit,
    decisionId: string,
    principal: string | undefined,
  ): LoginOutcome {
    const nowMs = this.#base.clock.now()
    const reach = reachOf(identity, target, this.#directory.compiled)
    const outcomes = (principal === undefined ? samples(reach.principals) : [principal]).flatMap(
      (user) =>
        samples(reach.resources).map((resource) =>
          authorize(
            { identity, facts },
            { target: target.ref, principal: user, resource },
            target,
            { ...this.#directory.snapshot, beaconAtMs: nowMs },
            {
              nowMs,
              decisionId,
              stalenessMaxMs: max('stalenessMaxMs'),
              keySha256,
              serverIds: [permit.proxyId],
              permit,
            },
          ),
        ),
    )
    const [first] = outcomes
    if (first === undefined) throw denied('No role allows anything there.')
    return outcomes.find((outcome) => outcome.right !== undefined) ?? first
  }
}

/** One name for each pattern; what only an expression allows is left to the agent, which knows the real name. */
function samples(patterns: readonly string[]): readonly string[] {
  const names = patterns.filter((name) => !name.startsWith('^')).slice(0, max('permitSamplesMax'))
  return names.length === 0 ? ['postgres'] : names.map((name) => name.replaceAll('*', 'x'))
}

function personFields({ identity }: ShownPerson): Readonly<Record<string, unknown>> {
  const { name, kind, roles } = identity
  return { user: name, user_kind: kind === 'bot' ? 2 : 1, user_roles: roles }
}

function denied(message: string): ProxyError {
  return new ProxyError('policy.denied', message, { side: 'client' })
}
