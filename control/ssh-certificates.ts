// SSH certificates: of a person beside the one of their login, of the host keys of agents and proxies. Which names a host may have is
// decided here, from what control knows of it: an agent is called by its nodes and its id, a proxy by the name it is certified for.

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { sshMost } from '../core/policy/options.ts'
import { loginsOf } from '../core/policy/reach.ts'
import type { SshGrant } from '../core/protocol.ts'
import type { CallContext } from './api/handler.ts'
import type { LoginReply, SshCertificate } from './api/messages.ts'
import type { Base } from './base.ts'
import type { IssuedLogin } from './certificates.ts'
import type { Directory } from './directory.ts'
import type { Issuer } from './issue.ts'
import type { HostRecord } from './records.ts'
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

  /** Each is a principal: whoever dials one of these names may be answered by this host. */
  #namesOf({ id, role, publicName }: HostRecord): readonly string[] {
    const { cluster } = this.#base
    if (role === 'proxy') {
      const facing = publicName === undefined ? [] : [publicName]
      return [...new Set([...facing, `${id}.${cluster}`, cluster])]
    }
    const nodes = [...this.#directory.targets()].flatMap(({ kind, name, agents }) =>
      kind === 'node' && agents.includes(id) ? [name] : [],
    )
    return [...nodes, id].flatMap((name) => [name, `${name}.${cluster}`])
  }
}

export function permitsOf(grant: SshGrant): SshPermits {
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
