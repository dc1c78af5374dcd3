// Permits for proxies: what lets one forwarded certificate that names no target reach one, through this proxy, for at most an hour
// (core/permit.ts). Decided in proxy-decision.ts; the agent decides again.

import { ProxyError } from '../core/errors.ts'
import { permitBody, writePermit } from '../core/permit.ts'
import type { CallContext } from './api/handler.ts'
import type { PermitReply, PermitRequest } from './api/messages.ts'
import type { Base } from './base.ts'
import type { Directory } from './directory.ts'
import { decideForProxy } from './proxy-decision.ts'
import { readShown, readShownSsh, type ShownPerson } from './shown-certificate.ts'

export class Permits {
  readonly #base: Base
  readonly #directory: Directory

  constructor(base: Base, directory: Directory) {
    this.#base = base
    this.#directory = directory
  }

  async give(request: PermitRequest, context: CallContext): Promise<PermitReply> {
    const base = this.#base
    const person = this.#person(request)
    const { target, principal } = request
    const wish = { person, target, ...(principal === undefined ? {} : { principal }) }
    const { permit, who } = await decideForProxy(base, this.#directory, wish, context)
    const { expiresAtMs } = permit
    const body = permitBody(permit)
    const bytes = writePermit(body, await base.signer.signPermit(body))
    await context.audit('permit.create', 'SLP002I', {
      ...who,
      target_kind: permit.target.kind,
      target_name: permit.target.name,
      certificate_serial: person.facts.serial,
      certificate_fingerprint: person.facts.fingerprint,
      expires: new Date(expiresAtMs).toISOString(),
    })
    return { permit: Buffer.from(bytes).toString('base64'), expiresAtMs }
  }

  /** A certificate of one kind opens targets of its kind: nothing that SSH has verified speaks for a database. */
  #person({ userCertificate, userSshCertificate, target }: PermitRequest): ShownPerson {
    const ofSsh = target.kind === 'node'
    const shown = ofSsh ? userSshCertificate : userCertificate
    if (
      shown === undefined ||
      (userCertificate !== undefined) === (userSshCertificate !== undefined)
    )
      throw new ProxyError(
        'resource.invalid',
        ofSsh
          ? 'A permit for a node is for an SSH certificate: userSshCertificate.'
          : 'A permit is for one certificate: userCertificate.',
        { side: 'client' },
      )
    return ofSsh
      ? readShownSsh(this.#base, this.#directory, shown)
      : readShown(this.#base, this.#directory, shown)
  }
}
