// The one authorisation flow of all protocols. A verified certificate and a wish go in; a right or a refusal comes out, with
// the explanation that the audit log keeps. Nothing else makes an `Authorized`, so no protocol can skip or reorder a check.
// The certificate itself (chain, purpose, extension) is verified before, from its DER, by core/cert/verify.ts.

import type { CertificateFacts, TargetKind, UserIdentity } from './identity.ts'
import { compileRoles } from './policy/compile.ts'
import { decide } from './policy/decide.ts'
import type { Explanation } from './policy/explain.ts'
import { explain, explainCheck } from './policy/explain.ts'
import {
  isGenerationStale,
  lockText,
  matchLock,
  sessionSubject,
  userGenerationKey,
} from './policy/locks.ts'
import { type Permit, permitProblem } from './permit.ts'
import type { MergedOptions } from './policy/options.ts'
import { lockModeOf, withCluster } from './policy/options.ts'
import { policyRefusal } from './policy/refusal.ts'
import type { Access, Grant, Peer, Refusal } from './protocol.ts'
import { beaconAgeMs, type ClusterConfig, type Snapshot, type Target } from './snapshot.ts'

/** What this process knows besides the peer. */
export interface LoginContext {
  readonly nowMs: number
  readonly decisionId: string
  /** Age of the newest beacon beyond which strict locking refuses. */
  readonly stalenessMaxMs: number
  /** SHA-256 of the peer's public key (SPKI), as core/cert/verify.ts gives it. */
  readonly keySha256: string
  /** Ids of the hosts the session runs through, as far as known: this agent, the proxy. A lock on one of them refuses. */
  readonly serverIds: readonly string[]
  /** Read and verified (core/permit.ts): stands for the route of a certificate that has none, where one is needed. */
  readonly permit?: Permit
  /**
   * Who ends the client's TLS: the agent (`relay`) or a proxy (`terminate`). The cluster's recording mode calls for one of them.
   * Absent: no session begins by this decision (a certificate is issued).
   */
  readonly mode?: SessionMode
}

export type SessionMode = 'relay' | 'terminate'

/** The mode that sessions with this target have: without an agent there is only a proxy to end them. */
export function modeFor(target: Pick<Target, 'address'>, config: ClusterConfig): SessionMode {
  return target.address === undefined ? modeInForce(config) : 'terminate'
}

/** The mode that the cluster's sessions have: recordings of proxies are made where a proxy can read. */
export function modeInForce({ recording }: ClusterConfig): SessionMode {
  return recording === 'proxy' || recording === 'proxy-sync' ? 'terminate' : 'relay'
}

export type LoginOutcome =
  | { readonly right: Authorized; readonly refusal?: never; readonly explanation: Explanation }
  | { readonly refusal: Refusal; readonly right?: never; readonly explanation: Explanation }

interface AuthorizedFields {
  readonly decisionId: string
  readonly identity: UserIdentity
  readonly facts: CertificateFacts
  readonly target: Target
  readonly access: Access
  readonly grant: Grant
  readonly endsAtMs: number
}

const MINT: unique symbol = Symbol('mint')

/**
 * The right to one session with one target. A function that opens a target takes one as its argument. The private field makes
 * it unforgeable: copies, spreads and structured clones (so also messages between threads) are no rights.
 */
export class Authorized {
  readonly decisionId: string
  readonly identity: UserIdentity
  readonly facts: CertificateFacts
  readonly target: Target
  readonly access: Access
  readonly grant: Grant
  /** When the session must end, milliseconds since the epoch; 0: it may outlive the certificate. */
  readonly endsAtMs: number
  readonly #minted = true

  constructor(mint: typeof MINT, fields: AuthorizedFields) {
    if (mint !== MINT) throw new TypeError('Only core/login.ts makes a right.')
    this.decisionId = fields.decisionId
    this.identity = fields.identity
    this.facts = fields.facts
    this.target = fields.target
    this.access = fields.access
    this.grant = fields.grant
    this.endsAtMs = fields.endsAtMs
    Object.freeze(this)
  }

  /** Whether a value is a right that this process minted. */
  static holds(value: unknown): value is Authorized {
    return typeof value === 'object' && value !== null && #minted in value && value.#minted
  }
}

/** `target` is the resolved target: the one that would be dialled, with the labels it has now. */
export function authorize(
  peer: Peer,
  access: Access,
  target: Target,
  snapshot: Snapshot,
  context: LoginContext,
): LoginOutcome {
  const wish: Wish = { peer, access, target, snapshot, context }
  const no =
    checkIdentity(wish) ??
    checkDates(wish) ??
    checkRoute(wish) ??
    checkMode(wish) ??
    checkLocks(wish) ??
    checkFresh(wish)
  if (no === undefined) return applyPolicy(wish)
  const { identity } = peer
  const { nowMs } = context
  return {
    refusal: no.refusal,
    explanation: explainCheck({ identity, target, access, nowMs }, no.check, no.refusal.reason),
  }
}

/** The end of a session that may not outlive its certificate. A per-session one of minutes defers to the login's own end. */
export function certificateEndMs(identity: UserIdentity, facts: CertificateFacts): number {
  return identity.loginExpiresAtMs ?? facts.notAfterMs
}

interface Wish {
  readonly peer: Peer
  readonly access: Access
  readonly target: Target
  readonly snapshot: Snapshot
  readonly context: LoginContext
}

interface CheckFailed {
  readonly check: Exclude<Explanation['check'], 'policy'>
  readonly refusal: Refusal
}

function applyPolicy(wish: Wish): LoginOutcome {
  const { peer, access, target, snapshot, context } = wish
  const roles = compileRoles(snapshot.roles)
  const input = { identity: peer.identity, target, access, roles, nowMs: context.nowMs }
  const decision = decide(input)
  const explanation = explain(input, decision)
  if (!decision.allow)
    return { refusal: policyRefusal(context.decisionId, decision.denial, access), explanation }
  const options = withCluster(decision, snapshot.config)
  return { right: mint(wish, options), explanation }
}

function mint(wish: Wish, options: MergedOptions): Authorized {
  const { peer, access, target, context } = wish
  const { identity, facts } = peer
  return new Authorized(MINT, {
    decisionId: context.decisionId,
    identity,
    facts,
    target,
    access,
    grant: options.grant,
    endsAtMs: options.disconnectExpiredCert ? certificateEndMs(identity, facts) : 0,
  })
}

function checkIdentity(wish: Wish): CheckFailed | undefined {
  const { identity } = wish.peer
  // The type says so already; the value came from a peer.
  const good = identity.type === 'user' && identity.cluster === wish.snapshot.config.cluster
  if (good) return undefined
  return failed(
    wish,
    'identity',
    'identity',
    'the certificate is not a user’s of this cluster',
    LOG_IN,
  )
}

function checkDates(wish: Wish): CheckFailed | undefined {
  const { facts, identity } = wish.peer
  const { nowMs } = wish.context
  const over = nowMs >= facts.notAfterMs || nowMs >= certificateEndMs(identity, facts)
  if (over) return failed(wish, 'expired', 'expired', 'the certificate has expired', LOG_IN)
  if (nowMs < facts.notBeforeMs)
    return failed(wish, 'expired', 'expired', 'the certificate is not valid yet', CHECK_CLOCK)
  const { lockSet } = wish.snapshot
  const key = userGenerationKey(identity.issuer, identity.name)
  if (isGenerationStale(lockSet, key, identity.generation))
    return failed(wish, 'expired', 'expired', 'the account was reset since this login', LOG_IN)
  return undefined
}

/**
 * A login certificate reaches no target, and one for a target reaches no other, so that a stolen one opens one door. But for nodes:
 * plain ssh has one certificate for all of them. Where the agent ends the session, the client proved the key to it and nobody else
 * can use the proof; where a proxy does, a permit stands for the route.
 */
function checkRoute(wish: Wish): CheckFailed | undefined {
  const { access, target } = wish
  const { route } = wish.peer.identity
  const { kind, name } = target.ref
  if (route === undefined && wish.context.permit !== undefined)
    return checkPermit(wish, wish.context.permit)
  if (route === undefined && kind === 'node' && wish.context.mode === 'relay')
    return access.target.kind === kind && access.target.name === name ? undefined : elsewhere(wish)
  const here =
    route?.kind === kind &&
    route.name === name &&
    access.target.kind === kind &&
    access.target.name === name &&
    (route.protocol === undefined || route.protocol === target.protocol)
  if (!here) return elsewhere(wish)
  const another = (what: string): CheckFailed =>
    failed(wish, 'identity', 'identity', `the certificate is for another ${what}`, loginHint(kind))
  if (route.principal !== undefined && route.principal !== access.principal)
    return another(kind === 'node' ? 'login' : 'database user')
  if (route.resource !== undefined && route.resource !== access.resource)
    return another('database name')
  return undefined
}

function elsewhere(wish: Wish): CheckFailed {
  const { kind } = wish.target.ref
  const what = kind === 'node' ? 'node' : 'database'
  const reason = `the certificate is not for this ${what}`
  return failed(wish, 'identity', 'identity', reason, loginHint(kind))
}

function loginHint(kind: TargetKind): string {
  return kind === 'node' ? LOG_IN : DB_LOGIN
}

/** A certificate with a route needs no permit, and none widens it. */
function checkPermit(wish: Wish, permit: Permit): CheckFailed | undefined {
  const { access, target, peer, context } = wish
  const { fingerprint } = peer.facts
  const resolved = access.target.kind === target.ref.kind && access.target.name === target.ref.name
  const problem = resolved
    ? permitProblem(permit, { ...context, fingerprint, target: target.ref })
    : 'the permit is for another target'
  return problem === undefined ? undefined : failed(wish, 'identity', 'identity', problem, AGAIN)
}

/** The client's verified name chose the mode; a name of the other one was fetched before the cluster changed. */
function checkMode(wish: Wish): CheckFailed | undefined {
  const { mode } = wish.context
  const { config } = wish.snapshot
  const { target } = wish
  if (mode === undefined || mode === modeFor(target, config)) return undefined
  const place = mode === 'relay' ? 'agents' : 'proxies'
  const reason = `sessions of this cluster do not end at ${place} (session recording mode ${config.recording})`
  const next = target.ref.kind === 'node' ? AGAIN : DB_LOGIN_AGAIN
  return failed(wish, 'mode', 'policy', reason, next)
}

function checkLocks(wish: Wish): CheckFailed | undefined {
  const { identity, facts } = wish.peer
  const { nowMs, keySha256, serverIds } = wish.context
  const subject = sessionSubject(identity, {
    kind: wish.target.ref.kind,
    target: wish.target.ref.name,
    principal: wish.access.principal,
    certificateSerial: facts.serial,
    keySha256,
    serverIds,
  })
  const lock = matchLock(wish.snapshot.lockSet, subject, nowMs)
  return lock === undefined ? undefined : failed(wish, 'lock', 'lock', lockText(lock), ASK)
}

function checkFresh(wish: Wish): CheckFailed | undefined {
  const { snapshot, context } = wish
  const ageMs = beaconAgeMs(snapshot.beaconAtMs, context.nowMs)
  if (ageMs <= context.stalenessMaxMs) return undefined
  const ofRoles = lockModeOf(wish.peer.identity, compileRoles(snapshot.roles))
  if (ofRoles !== 'strict' && snapshot.config.lockingMode !== 'strict') return undefined
  const reason = 'locks cannot be checked, as control has been silent too long for strict locking'
  return failed(wish, 'staleness', 'unavailable', reason, TRY_LATER)
}

const LOG_IN = 'Log in again with "tsh login".'
const DB_LOGIN = 'Get a certificate for it with "tsh db login".'
const AGAIN = 'Connect again.'
const DB_LOGIN_AGAIN = 'Get its certificate and settings of now with "tsh db login".'
const CHECK_CLOCK = 'Check the clock of your machine.'
const ASK = 'Ask an administrator.'
const TRY_LATER = 'Try again when control is back.'

function failed(
  wish: Wish,
  check: CheckFailed['check'],
  kind: Refusal['kind'],
  reason: string,
  next: string,
): CheckFailed {
  return { check, refusal: { decisionId: wish.context.decisionId, kind, reason, next } }
}
