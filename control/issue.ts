// Certificates by purpose: asks the signer, audits each signature with its serial, and gives the PEM chain. What may be in them is
// decided by the callers (certificates.ts, join.ts, targets.ts) and again by the signer's templates.

import { writePem } from '../core/cert/pem.ts'
import type { EventFields } from '../core/audit/event.ts'
import type { CertificateFacts } from '../core/identity.ts'
import type { Base } from './base.ts'
import type { CallContext } from './api/handler.ts'
import type {
  Authorities,
  DbClientRequest,
  DbServerRequest,
  HostRequest,
  Issued,
  SshHostRequest,
  SshIssued,
  SshOpensshRequest,
  SshUserRequest,
  TargetRequest,
  UserRequest,
} from './signer/api.ts'

export interface IssuedPem {
  /** Leaf, then its CA. */
  readonly chain: string
  readonly expiresAtMs: number
  readonly serial: string
}

export interface IssuedSsh {
  /** Wire bytes, base64. */
  readonly certificate: string
  readonly expiresAtMs: number
}

/** Only the audit of a call, so that control may issue for itself too. */
export type Auditor = Pick<CallContext, 'audit'>

export class Issuer {
  readonly #base: Base
  readonly #authorities: () => Authorities

  constructor(base: Base, authorities: () => Authorities) {
    this.#base = base
    this.#authorities = authorities
  }

  async user(request: UserRequest, by: Auditor): Promise<IssuedPem> {
    const issued = await this.#base.signer.user(request)
    const { issuer, name, route } = request.identity
    const target = route === undefined ? {} : { route: `${route.kind}/${route.name}` }
    return await this.#told('user', issued, { identity: `${issuer}/${name}`, ...target }, by)
  }

  async host(request: HostRequest, by: Auditor): Promise<IssuedPem> {
    const issued = await this.#base.signer.host(request)
    return await this.#told('host', issued, { identity: request.identity.id }, by)
  }

  async target(request: TargetRequest, by: Auditor): Promise<IssuedPem> {
    const issued = await this.#base.signer.target(request)
    const names = request.names.map((name) => `${name.kindLabel}/${name.label}`).join(' ')
    return await this.#told('target', issued, { identity: request.agentId, route: names }, by)
  }

  async dbClient(request: DbClientRequest, by: Auditor, user: string): Promise<IssuedPem> {
    const issued = await this.#base.signer.dbClient(request)
    const route = `db/${request.target} as ${request.principal}`
    return await this.#told('db_client', issued, { identity: user, route }, by)
  }

  async dbServer(request: DbServerRequest, by: Auditor): Promise<IssuedPem> {
    const issued = await this.#base.signer.dbServer(request)
    return await this.#told('db', issued, { identity: request.hosts.join(' ') }, by)
  }

  async sshUser(request: SshUserRequest, by: Auditor): Promise<IssuedSsh> {
    const issued = await this.#base.signer.sshUser(request)
    const { issuer, name } = request.identity
    const route = request.logins.join(' ')
    return await this.#toldSsh(issued, { identity: `${issuer}/${name}`, route }, by)
  }

  async sshHost(request: SshHostRequest, by: Auditor): Promise<IssuedSsh> {
    const issued = await this.#base.signer.sshHost(request)
    const route = request.hosts.join(' ')
    return await this.#toldSsh(issued, { identity: request.id, route }, by)
  }

  async sshOpenssh(request: SshOpensshRequest, target: string, by: Auditor): Promise<IssuedSsh> {
    const issued = await this.#base.signer.sshOpenssh(request)
    const route = `node/${target} as ${request.login}`
    return await this.#toldSsh(issued, { identity: request.user, route }, by)
  }

  async #toldSsh(
    { certificate, ca, facts }: SshIssued,
    fields: Named,
    by: Auditor,
  ): Promise<IssuedSsh> {
    await by.audit('cert.create', 'TC000I', { cert_type: ca, ...created(facts), ...fields })
    const text = Buffer.from(certificate).toString('base64')
    return { certificate: text, expiresAtMs: facts.notAfterMs }
  }

  async #told(
    type: string,
    { certificate, ca, facts }: Issued,
    fields: Named,
    by: Auditor,
  ): Promise<IssuedPem> {
    await by.audit('cert.create', 'TC000I', { cert_type: type, ...created(facts), ...fields })
    const [authority] = this.#authorities().cas[ca]
    const chain = writePem(
      'CERTIFICATE',
      certificate,
      ...(authority === undefined ? [] : [authority]),
    )
    return { chain, expiresAtMs: facts.notAfterMs, serial: facts.serial }
  }
}

interface Named {
  readonly identity: string
  readonly route?: string
}

function created({ serial, fingerprint, notAfterMs }: CertificateFacts): EventFields {
  return {
    certificate_serial: serial,
    certificate_fingerprint: fingerprint,
    expires: new Date(notAfterMs).toISOString(),
  }
}
