// One client of one target at the agent: ends its TLS, reads who it is from the DER of its certificate, asks the one
// authorisation flow (core/login.ts) over the newest snapshot, and later whether a lock has come. Answers are rights and
// refusals; it dials nothing and knows no protocol.

import type net from 'node:net'

import { verifyPeer } from '../core/cert/verify.ts'
import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { authorize } from '../core/login.ts'
import type { Authorized, LoginOutcome } from '../core/login.ts'
import {
  isGenerationStale,
  lockText,
  matchLock,
  sessionSubject,
  userGenerationKey,
} from '../core/policy/locks.ts'
import type { Access, Peer, Refusal } from '../core/protocol.ts'
import type { Snapshot, Target } from '../core/snapshot.ts'
import type { AuthorizeOutcome, SecuredClient } from './session.ts'
import type { Secured, TlsServer } from './tls.ts'

export interface ClientGateOptions {
  readonly server: TlsServer
  readonly clock: Clock
  /** The target the frame named, with the labels it has now; undefined when this agent does not serve it. */
  readonly target: () => Target | undefined
  readonly snapshot: () => Snapshot | undefined
  readonly newDecisionId: () => string
  /** From the frame: what the client must ask for by SNI. */
  readonly serverName: string
  /** ALPN names of the protocol the frame named. */
  readonly alpn: readonly string[]
  /** The client asked for TLS in its protocol before; then it need not offer ALPN. */
  readonly alpnOptional: boolean
  /** Hosts the session runs through: a lock on one of them refuses. */
  readonly serverIds: readonly string[]
  /** Every outcome, for the audit log. */
  readonly decided: (outcome: LoginOutcome, peer: Peer, access: Access) => void
}

const LOG_IN = 'Log in again with "tsh login" and "tsh db login".'
const ASK = 'Ask an administrator.'
const LATER = 'Try again when control is back.'

export class ClientGate {
  readonly #options: ClientGateOptions
  #certificate: Uint8Array | undefined
  #keySha256 = ''

  constructor(options: ClientGateOptions) {
    this.#options = options
  }

  /** The client's certificate, DER, once it was verified. */
  get certificate(): Uint8Array | undefined {
    return this.#certificate
  }

  /** Ends TLS. Who did not prove to be a user comes back without `peer`, to be refused in the client's protocol. */
  async secure(raw: net.Socket, first: Uint8Array): Promise<SecuredClient> {
    const { server, serverName, alpn, alpnOptional } = this.#options
    const secured = await server.accept(raw, first, { serverName, alpnOptional })
    if (secured.alpn !== undefined && !alpn.includes(secured.alpn)) {
      secured.socket.destroy()
      throw new ProxyError('protocol.violation', 'The client names another protocol by ALPN.', {
        side: 'client',
      })
    }
    const named = secured.alpn === undefined ? {} : { alpn: secured.alpn }
    return { socket: secured.socket, ...named, ...this.#identify(secured) }
  }

  authorize(peer: Peer, access: Access): Promise<AuthorizeOutcome> {
    return Promise.resolve(this.#decide(peer, access))
  }

  /** After each change of locks, and while control is silent: why a running session must end, if it must. */
  revoked(right: Authorized): Refusal | undefined {
    const { snapshot, clock, serverIds } = this.#options
    const view = snapshot()
    if (view === undefined) return undefined
    const { identity, facts, access, grant } = right
    const subject = sessionSubject(identity, {
      kind: access.target.kind,
      target: access.target.name,
      principal: access.principal,
      certificateSerial: facts.serial,
      keySha256: this.#keySha256,
      serverIds,
    })
    const lock = matchLock(view.lockSet, subject, clock.now())
    if (lock !== undefined) return this.#refusal('lock', lockText(lock), ASK)
    const key = userGenerationKey(identity.issuer, identity.name)
    if (isGenerationStale(view.lockSet, key, identity.generation))
      return this.#refusal('expired', 'the account was reset since this login', LOG_IN)
    const silentMs = clock.now() - view.beaconAtMs
    if (grant.lockMode === 'strict' && silentMs > max('stalenessMaxMs'))
      return this.#refusal(
        'unavailable',
        'control has been silent too long for strict locking',
        LATER,
      )
    return undefined
  }

  #identify(secured: Secured): { readonly peer: Peer } | { readonly refusal?: Refusal } {
    const { snapshot, clock } = this.#options
    const view = snapshot()
    if (view === undefined)
      return { refusal: this.#refusal('unavailable', 'this agent has no policy yet', LATER) }
    // Nothing shown at all: the protocol says in its own words what to show.
    if (secured.chain.length === 0) return {}
    const { cluster } = view.config
    const want = { cas: view.cas.user, purpose: 'client', type: 'user', cluster } as const
    const verified = verifyPeer(secured.chain, want, clock.now())
    if (!verified.ok) {
      const kind = verified.code === 'cert.expired' ? 'expired' : 'identity'
      return { refusal: this.#refusal(kind, verified.reason, LOG_IN) }
    }
    const { identity, facts, keySha256 } = verified
    // OpenSSL's verdict is not sufficient, but it is necessary.
    if (identity.type !== 'user' || !secured.authorized)
      return { refusal: this.#refusal('identity', 'TLS did not accept the certificate', LOG_IN) }
    this.#certificate = secured.chain[0]
    this.#keySha256 = keySha256
    return { peer: { identity, facts } }
  }

  #decide(peer: Peer, access: Access): AuthorizeOutcome {
    const { snapshot, clock, target, newDecisionId, serverIds, decided } = this.#options
    const view = snapshot()
    const resolved = target()
    if (view === undefined || resolved === undefined) {
      const reason = 'this agent does not serve the target now'
      return { refusal: this.#refusal('unavailable', reason, 'Try again in a moment.') }
    }
    const outcome = authorize(peer, access, resolved, view, {
      nowMs: clock.now(),
      decisionId: newDecisionId(),
      stalenessMaxMs: max('stalenessMaxMs'),
      keySha256: this.#keySha256,
      serverIds,
    })
    decided(outcome, peer, access)
    return outcome.right === undefined ? { refusal: outcome.refusal } : { right: outcome.right }
  }

  #refusal(kind: Refusal['kind'], reason: string, next: string): Refusal {
    return { decisionId: this.#options.newDecisionId(), kind, reason, next }
  }
}
