// Control's decision of a session that a proxy ends: whether somebody who came to it may reach a target through it. As an agent would
// decide, on what control knows now; whoever opens the target decides again. The proxy shows a certificate and no proof of its key:
// it can only replay people who came to it, which this mode admits anyway.

import { randomBytes } from 'node:crypto'

import { ProxyError } from '../core/errors.ts'
import type { TargetRef } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import {
  type Authorized,
  authorize,
  certificateEndMs,
  type LoginOutcome,
  modeFor,
} from '../core/login.ts'
import type { Permit } from '../core/permit.ts'
import { isVisible, reachOf } from '../core/policy/reach.ts'
import type { Target } from '../core/snapshot.ts'
import { newDecisionId } from '../core/ulid.ts'
import type { CallContext } from './api/handler.ts'
import type { Base } from './base.ts'
import { asTarget } from './certificates.ts'
import type { Directory } from './directory.ts'
import type { ShownPerson } from './shown-certificate.ts'

export interface ProxyWish {
  readonly person: ShownPerson
  readonly target: TargetRef
  /** Database user, login; absent: any that the roles offer. */
  readonly principal?: string
}

export interface ProxyDecision {
  readonly right: Authorized
  /** What stands for the certificate's route, through this proxy alone. */
  readonly permit: Permit
  readonly who: Readonly<Record<string, unknown>>
}

/** Throws, audited, when the answer is no. */
export async function decideForProxy(
  base: Base,
  directory: Directory,
  wish: ProxyWish,
  context: CallContext,
): Promise<ProxyDecision> {
  const { caller } = context
  if (caller.kind !== 'system' || caller.identity.role !== 'proxy')
    throw denied('This call is for proxies.')
  const proxyId = caller.identity.id
  const { person, principal } = wish
  if (principal !== undefined && person.logins?.includes(principal) === false)
    throw denied('The certificate is not for this login.')
  const target = visibleTarget(directory, wish)
  if (modeFor(target, directory.config) !== 'terminate')
    throw denied('Sessions of this cluster end at agents, which need no permit.')
  const nowMs = base.clock.now()
  const permit: Permit = {
    certificate: person.facts.fingerprint,
    target: target.ref,
    proxyId,
    expiresAtMs: Math.min(
      person.facts.notAfterMs,
      certificateEndMs(person.identity, person.facts),
      nowMs + max('permitTtlMaxMs'),
    ),
  }
  const decisionId = newDecisionId(nowMs, randomBytes(10))
  const outcome = decide(directory, { ...wish, target, permit, decisionId, nowMs })
  const who = { ...personFields(person), server_id: proxyId, decision_id: decisionId }
  if (outcome.right !== undefined) return { right: outcome.right, permit, who }
  const { reason } = outcome.refusal
  const asked = askedFields(target, principal)
  const deny = { ...who, ...asked, decision: outcome.explanation, reason }
  await context.audit('decision.deny', 'SLP001W', deny)
  throw denied(reason)
}

/** The same answer for what does not exist and for what the person may not see. */
function visibleTarget(directory: Directory, { person, target }: ProxyWish): Target {
  const record = directory.target(target.kind, target.name)
  const found = record === undefined ? undefined : asTarget(record)
  if (found !== undefined && isVisible(person.identity, found, directory.compiled)) return found
  throw new ProxyError(
    'resource.not-found',
    `There is no ${target.kind} "${target.name}" that the roles of this user let them see.`,
    { side: 'client' },
  )
}

interface Question {
  readonly person: ShownPerson
  readonly target: Target
  readonly principal?: string
  readonly permit: Permit
  readonly decisionId: string
  readonly nowMs: number
}

/** With every principal and name the roles offer, as far as the proxy does not know which: the real ones are decided on later. */
function decide(directory: Directory, question: Question): LoginOutcome {
  const { person, target, principal, permit, decisionId, nowMs } = question
  const { identity, facts, keySha256 } = person
  const reach = reachOf(identity, target, directory.compiled)
  const resources = target.ref.kind === 'node' ? [''] : samples(reach.resources)
  const outcomes = (principal === undefined ? samples(reach.principals) : [principal]).flatMap(
    (each) =>
      resources.map((resource) =>
        authorize(
          { identity, facts },
          { target: target.ref, principal: each, resource },
          target,
          { ...directory.snapshot, beaconAtMs: nowMs },
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

/** One name for each pattern; what only an expression allows is left to the target's end, which knows the real name. */
function samples(patterns: readonly string[]): readonly string[] {
  const names = patterns.filter((name) => !name.startsWith('^')).slice(0, max('permitSamplesMax'))
  return names.length === 0 ? ['postgres'] : names.map((name) => name.replaceAll('*', 'x'))
}

function askedFields(
  { ref }: Target,
  principal: string | undefined,
): Readonly<Record<string, unknown>> {
  if (ref.kind === 'db') return { db_service: ref.name }
  const login = principal === undefined ? {} : { login: principal }
  return { target_kind: ref.kind, target_name: ref.name, ...login }
}

function personFields({ identity }: ShownPerson): Readonly<Record<string, unknown>> {
  const { name, kind, roles } = identity
  return { user: name, user_kind: kind === 'bot' ? 2 : 1, user_roles: roles }
}

function denied(message: string): ProxyError {
  return new ProxyError('policy.denied', message, { side: 'client' })
}
