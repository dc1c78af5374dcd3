// SSH certificates: of a person beside the one of their login, of the host keys of agents and proxies. Which names a host may have is
// decided here, from what control knows of it: an agent is called by its nodes and its id, a proxy by the name it is certified for.

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { sshMost } from '../core/policy/options.ts'
import { loginsOf } from '../core/policy/reach.ts'
import type { SshGrant } from '../core/protocol.ts'
import type { CallContext } from './api/handler.ts'
import type {
  LoginReply,
  OpensshRequest,
  SshCertificate,
  SshHostSignRequest,
} from './api/messages.ts'
import type { Base } from './base.ts'
import type { IssuedLogin } from './certificates.ts'
import type { Directory } from './directory.ts'
import type { Issuer } from './issue.ts'
import { decideForProxy } from './proxy-decision.ts'
import type { HostRecord } from './records.ts'
import { readShownSsh } from './shown-certificate.ts'
import { isNodeName, nodeNameTaken } from './ssh-names.ts'
import type { SshPermits } from './signer/api.ts'

export class SshCertificates {
  readonly #base: Base
  readonly #directory: Directory
  readonly #issuer: Issuer

  constructor(base: Base, directory: Directory, issuer: Issuer) {
    this.#base = base
    this.#directory = directory
    this.#issuer = issuer
  }

  /** The same person for the same time, in the form that SSH servers read. `publicKey`: a blob, base64. */
  async login(
    { identity, ttlMs }: IssuedLogin,
    publicKey: string,
    context: CallContext,
  ): Promise<NonNullable<LoginReply['ssh']>> {
    const { compiled, authorities } = this.#directory
    const logins = loginsOf(identity, compiled)
    if (logins.length > max('sshPrincipalsMax'))
      throw new ProxyError(
        'cert.identity',
        'The roles allow more logins than a certificate holds.',
        {
          next: 'Use fewer logins.',
        },
      )
    const permits = permitsOf(sshMost(identity, compiled))
    const request = { identity, publicKey: fromBase64(publicKey), logins, permits, ttlMs }
    const { certificate } = await this.#issuer.sshUser(request, context)
    return { certificate, hostCas: authorities.ssh.host.map(toBase64), logins }
  }

  /** For the caller's own host key. */
  async host(publicKey: string, context: CallContext): Promise<SshCertificate> {
    const { caller } = context
    const host = caller.kind === 'system' ? this.#directory.host(caller.identity.id) : undefined
    if (host === undefined)
      throw new ProxyError('policy.denied', 'Only agents and proxies get host certificates.', {
        side: 'client',
      })
    const hosts = this.#namesOf(host)
    const request = { id: host.id, publicKey: fromBase64(publicKey), hosts }
    return await this.#issuer.sshHost({ ...request, ttlMs: max('hostCertTtlMs') }, context)
  }

  /** For a server that an administrator looks after. What an agent is called stays the agent's. */
  async enrol(request: SshHostSignRequest, context: CallContext): Promise<SshCertificate> {
    const { publicKey, ttlMs } = request
    const hosts = request.hosts.map((host) => host.toLowerCase())
    const [first = ''] = hosts
    const taken = hosts.find((host) => this.#isTaken(host))
    if (taken !== undefined)
      throw new ProxyError('resource.conflict', `"${taken}" is a name of a proxy or an agent.`, {
        side: 'client',
      })
    const key = fromBase64(publicKey)
    return await this.#issuer.sshHost(
      { id: first, publicKey: key, hosts, ttlMs, enrolled: true },
      context,
    )
  }

  #isTaken(host: string): boolean {
    const { cluster } = this.#base
    if (nodeNameTaken(this.#directory, cluster, host) !== undefined) return true
    const below = `.${cluster}`
    const name = host.endsWith(below) ? host.slice(0, -below.length) : host
    const known = this.#directory.target('node', name)
    return known !== undefined && known.address === undefined
  }

  /** For a proxy's session with a server that has no agent: one login, minutes, and what the roles grant there. */
  async openssh(request: OpensshRequest, context: CallContext): Promise<SshCertificate> {
    const { target: name, principal, publicKey } = request
    const person = readShownSsh(this.#base, this.#directory, request.userCertificate)
    const target = { kind: 'node', name } as const
    if (this.#directory.target('node', name)?.address === undefined)
      throw new ProxyError('policy.denied', 'An agent serves this node, if there is one.', {
        side: 'client',
      })
    const wish = { person, target, principal }
    const { right } = await decideForProxy(this.#base, this.#directory, wish, context)
    const leftMs = person.facts.notAfterMs - this.#base.clock.now()
    return await this.#issuer.sshOpenssh(
      {
        user: person.identity.name,
        publicKey: fromBase64(publicKey),
        login: principal,
        permits: permitsOf(right.grant.ssh ?? NOTHING),
        ttlMs: Math.max(Math.min(leftMs, max('opensshCertTtlMs')), max('certTtlMinMs')),
      },
      name,
      context,
    )
  }

  /** Each is a principal: whoever dials one of these names may be answered by this host. */
  #namesOf({ id, role, publicName }: HostRecord): readonly string[] {
    const { cluster } = this.#base
    if (role === 'proxy') {
      // A node that has the name had it first, or an administrator gave it: a proxy must not be taken for it.
      const free = publicName !== undefined && !isNodeName(this.#directory, cluster, publicName)
      const facing = free ? [publicName] : []
      return [...new Set([...facing, `${id}.${cluster}`, cluster])]
    }
    const nodes = [...this.#directory.targets()].flatMap(({ kind, name, agents }) =>
      kind === 'node' && agents.includes(id) ? [name] : [],
    )
    return [...nodes, id].flatMap((name) => [name, `${name}.${cluster}`])
  }
}

const NOTHING: SshGrant = {
  forwardAgent: false,
  localForwarding: false,
  remoteForwarding: false,
  x11: false,
  fileCopy: false,
  sessionsMax: 0,
}

function permitsOf(grant: SshGrant): SshPermits {
  return {
    agentForwarding: grant.forwardAgent,
    portForwarding: grant.localForwarding || grant.remoteForwarding,
    x11: grant.x11,
  }
}

function fromBase64(text: string): Uint8Array {
  return Buffer.from(text, 'base64')
}

function toBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
