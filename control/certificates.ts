// Certificates for people and for what they reach: after login, for one database, for an agent towards a database, for a database
// itself. A certificate asked for with another one may only narrow it: roles and traits are what both the old one and the
// user's current resource have, and it ends no later.

import { randomBytes } from 'node:crypto'

import { ProxyError } from '../core/errors.ts'
import { KIND_LABELS } from '../core/identity.ts'
import type { Traits, UserIdentity } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import { authorize, modeInForce } from '../core/login.ts'
import { isVisible, reachOf } from '../core/policy/reach.ts'
import type { Target } from '../core/snapshot.ts'
import { serverName, ticketRest } from '../core/tunnel/ticket.ts'
import { newDecisionId } from '../core/ulid.ts'
import type { Caller } from './api/caller.ts'
import type { CallContext } from './api/handler.ts'
import type {
  Database,
  DbCertificate,
  DbCertificateRequest,
  DbClientCertificate,
  DbClientRequest,
  SignReply,
  SignRequest,
} from './api/messages.ts'
import type { Base } from './base.ts'
import type { DbCredentials } from './db-credentials.ts'
import type { Directory, UserFacts } from './directory.ts'
import type { Issuer, IssuedPem } from './issue.ts'
import { certifiedProxies } from './public-names.ts'
import type { TargetRecord } from './records.ts'
import { readShown } from './shown-certificate.ts'
import type { TicketKeys } from './ticket-keys.ts'

export interface LoginProof {
  readonly spki: Uint8Array
  readonly ttlMs?: number
  readonly generation: number
  readonly mfaAtMs: number
}

export interface IssuedLogin extends IssuedPem {
  /** What it says, for a certificate of another kind that says the same. */
  readonly identity: UserIdentity
  readonly ttlMs: number
}

type Person = Extract<Caller, { kind: 'user' }>

export class Certificates {
  readonly #base: Base
  readonly #directory: Directory
  readonly #issuer: Issuer
  readonly #tickets: TicketKeys
  readonly #stored: Pick<DbCredentials, 'find'>

  constructor(
    base: Base,
    directory: Directory,
    issuer: Issuer,
    tickets: TicketKeys,
    stored: Pick<DbCredentials, 'find'>,
  ) {
    this.#base = base
    this.#directory = directory
    this.#issuer = issuer
    this.#tickets = tickets
    this.#stored = stored
  }

  /** For somebody who just proved password and code. */
  async login(user: UserFacts, proof: LoginProof, context: CallContext): Promise<IssuedLogin> {
    const identity: UserIdentity = {
      type: 'user',
      kind: 'human',
      issuer: 'local',
      name: user.name,
      cluster: this.#base.cluster,
      roles: user.roles,
      traits: user.traits,
      generation: proof.generation,
      mfaAtMs: proof.mfaAtMs,
    }
    const left = (user.expiresAtMs ?? Infinity) - this.#base.clock.now()
    const allowed = Math.min(this.#ttlMax(user.roles), left)
    const ttlMs = clamp(proof.ttlMs ?? this.#directory.sessionTtlMs, allowed)
    const issued = await this.#issuer.user({ identity, spki: proof.spki, ttlMs }, context)
    return { ...issued, identity, ttlMs }
  }

  /** A certificate for one database, with the server name that leads to it. */
  async database(
    request: DbCertificateRequest,
    caller: Person,
    context: CallContext,
  ): Promise<DbCertificate> {
    const identity = this.#narrowed(caller.identity)
    const target = this.#visible(identity, request.service)
    const { dbUser, dbName } = request
    const way = this.#way()
    const routed: UserIdentity = {
      ...identity,
      route: {
        kind: 'db',
        name: target.name,
        protocol: target.protocol,
        ...(dbUser === undefined ? {} : { principal: dbUser }),
        ...(dbName === undefined ? {} : { resource: dbName }),
      },
    }
    const left = caller.facts.notAfterMs - this.#base.clock.now()
    const ttlMs = clamp(request.ttlMs ?? left, Math.min(left, this.#ttlMax(identity.roles)))
    const spki = Buffer.from(request.publicKey, 'base64')
    const issued = await this.#issuer.user({ identity: routed, spki, ttlMs }, context)
    return {
      certificate: issued.chain,
      target: { name: target.name, protocol: target.protocol },
      ...way,
      serverName: way.serverName ?? this.#serverName(target, routed, issued.expiresAtMs),
      expiresAtMs: issued.expiresAtMs,
    }
  }

  /** The databases a person may see, in the order of their names. Whether they answer is filled in by whoever knows. */
  visible(identity: UserIdentity): readonly (Omit<Database, 'online' | 'status' | 'reason'> & {
    readonly agents: readonly string[]
  })[] {
    const found = [...this.#directory.targets()].flatMap((record) => {
      if (record.kind !== 'db') return []
      const reach = reachOf(identity, asTarget(record), this.#directory.compiled)
      const { visible, principals: dbUsers, resources: dbNames } = reach
      const { name, protocol, labels, description, agents } = record
      return visible ? [{ name, protocol, labels, description, dbUsers, dbNames, agents }] : []
    })
    return found.sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /** For an agent that owns the target, on the user's certificate: decided here again. */
  async dbClient(request: DbClientRequest, context: CallContext): Promise<DbClientCertificate> {
    const { caller } = context
    const record = this.#directory.target('db', request.target)
    if (
      caller.kind !== 'system' ||
      record === undefined ||
      !record.agents.includes(caller.identity.id)
    )
      throw denied('This agent does not serve that database.')
    const peer = readShown(this.#base, this.#directory, request.userCertificate)
    const names =
      request.resource === undefined ? this.#namesOf(peer.identity, record) : [request.resource]
    const outcomes = names.map((resource) =>
      authorize(
        { identity: peer.identity, facts: peer.facts },
        { target: { kind: 'db', name: record.name }, principal: request.principal, resource },
        asTarget(record),
        { ...this.#directory.snapshot, beaconAtMs: this.#base.clock.now() },
        {
          nowMs: this.#base.clock.now(),
          decisionId: newDecisionId(this.#base.clock.now(), randomBytes(10)),
          stalenessMaxMs: max('stalenessMaxMs'),
          keySha256: peer.keySha256,
          serverIds: [caller.identity.id],
        },
      ),
    )
    if (!outcomes.some((outcome) => outcome.right !== undefined))
      throw denied(outcomes[0]?.refusal?.reason ?? 'No role allows this database user.')
    const issued = await this.#issuer.dbClient(
      {
        target: record.name,
        principal: request.principal,
        spki: Buffer.from(request.publicKey, 'base64'),
      },
      context,
      peer.identity.name,
    )
    const stored = await this.#stored.find(record.name, request.principal, record.owner)
    return {
      certificate: issued.chain,
      expiresAtMs: issued.expiresAtMs,
      ...(stored === undefined ? {} : { stored }),
    }
  }

  /** A server certificate for a self-hosted database, and the lines it needs to believe our clients. */
  async sign(request: SignRequest, context: CallContext): Promise<SignReply> {
    const { hosts, ttlMs, publicKey, targets } = request
    const spki = Buffer.from(publicKey, 'base64')
    const issued = await this.#issuer.dbServer({ hosts, spki, ttlMs }, context)
    const { db, db_client } = this.#directory.bundle
    return {
      certificate: issued.chain,
      cas: { db, db_client },
      ...postgresLines(this.#base.cluster, targets ?? []),
      expiresAtMs: issued.expiresAtMs,
    }
  }

  #narrowed(identity: UserIdentity): UserIdentity {
    const user = this.#directory.user(identity.name)
    if (user === undefined || identity.issuer !== 'local')
      throw denied('Your user does not exist any more.')
    return {
      ...identity,
      roles: identity.roles.filter((role) => user.roles.includes(role)),
      traits: intersect(identity.traits, user.traits),
    }
  }

  /** The same answer for what does not exist and for what may not be seen. */
  #visible(identity: UserIdentity, name: string): TargetRecord {
    const record = this.#directory.target('db', name)
    if (record !== undefined && isVisible(identity, asTarget(record), this.#directory.compiled))
      return record
    throw new ProxyError(
      'resource.not-found',
      `There is no database "${name}" that your roles let you see.`,
      {
        side: 'client',
        next: 'List what you may reach with `tsh db ls`.',
      },
    )
  }

  /** Where sessions lead in the mode in force, and by which CA the other end proves itself. */
  #way(): Pick<DbCertificate, 'mode' | 'proxies' | 'serverCas'> & { readonly serverName?: string } {
    const { config, snapshot, bundle } = this.#directory
    const mode = modeInForce(config)
    if (mode === 'relay')
      return {
        mode,
        proxies: snapshot.proxies.map((proxy) => proxy.address),
        serverCas: bundle.target,
      }
    const named = certifiedProxies(this.#directory.hosts(), config.cluster)
    const [first] = named
    if (first === undefined)
      throw new ProxyError('config.invalid', 'No proxy is certified for its public address.', {
        next: 'Events of the type target.claim_refused say why; a proxy asks again when it is restarted.',
      })
    return {
      mode,
      serverName: first.name,
      proxies: named.map(({ address }) => address),
      serverCas: bundle.host,
    }
  }

  #serverName(target: TargetRecord, identity: UserIdentity, expiresAtMs: number): string {
    const kindLabel = KIND_LABELS[target.kind]
    const rest = ticketRest(target.label, kindLabel, this.#base.cluster)
    const { issuer, name } = identity
    const ticket = this.#tickets.mint({ expiresAtMs, issuer, user: name, rest })
    return serverName(ticket, target.label, kindLabel, this.#base.cluster)
  }

  /** Without the database's name from the agent: whether any name that the roles offer would do. The agent decides on the real one. */
  #namesOf(identity: UserIdentity, record: TargetRecord): readonly string[] {
    if (identity.route?.resource !== undefined) return [identity.route.resource]
    const { resources } = reachOf(identity, asTarget(record), this.#directory.compiled)
    const literal = resources
      .filter((name) => !name.startsWith('^'))
      .map((name) => name.replaceAll('*', 'x'))
    return literal.length === 0 ? ['postgres'] : literal
  }

  /** The shortest max_session_ttl of the roles. */
  #ttlMax(roles: readonly string[]): number {
    const bounds = roles.map(
      (role) => this.#directory.compiled.get(role)?.role.options.maxSessionTtlMs,
    )
    return Math.min(max('userCertTtlMaxMs'), ...bounds.map((bound) => bound ?? Infinity))
  }
}

/** A record as policy sees it. */
export function asTarget(record: TargetRecord): Target {
  const { kind, name, protocol, labels, agents, label, address } = record
  const target = { ref: { kind, name }, protocol, labels, agents, label }
  return address === undefined ? target : { ...target, address }
}

/**
 * pg_hba demands our certificate and maps its whole name; pg_ident takes the user from the CN only when the OU is this database
 * and the O is this cluster, so a certificate for another database opens nothing. A comma, plus or backslash in a name ends it.
 */
export function postgresLines(
  cluster: string,
  targets: readonly string[],
): { readonly pgIdent: readonly string[]; readonly pgHba: readonly string[] } {
  const names = targets.length === 0 ? ['NAME'] : targets
  const hint =
    targets.length === 0 ? ['# Replace NAME by the name this database has in Sluice.'] : []
  return {
    pgIdent: [
      ...hint,
      ...names.map(
        (name) => `sluice  "/^CN=([^,+\\\\]+),OU=${escape(name)},O=${escape(cluster)}$"  \\1`,
      ),
    ],
    pgHba: [
      'hostssl all all 0.0.0.0/0 cert clientname=DN map=sluice',
      'hostssl all all ::/0 cert clientname=DN map=sluice',
    ],
  }
}

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&')
}

function intersect(a: Traits, b: Traits): Traits {
  const common = Object.entries(a).flatMap(([name, values]) => {
    const other = Object.hasOwn(b, name) ? (b[name] ?? []) : []
    const both = values.filter((value) => other.includes(value))
    return both.length === 0 ? [] : [[name, both] as const]
  })
  return Object.fromEntries(common)
}

/** At most what is allowed; never below what the signer takes. */
function clamp(wantedMs: number, allowedMs: number): number {
  return Math.max(Math.min(wantedMs, allowedMs), max('certTtlMinMs'))
}

function denied(message: string): ProxyError {
  return new ProxyError('policy.denied', message, { side: 'client' })
}
