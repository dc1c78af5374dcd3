// One login that is being served: who holds which right, the machine it leads to, and the one way in which the audit log hears of it.
// What is refused is counted here: each refusal is an event, and a client may not fill the log with them.

import type { SshCertificate } from '../../core/cert/ssh.ts'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Authorized } from '../../core/login.ts'
import type { AuditFields, Host } from '../../core/protocol.ts'
import type { Machine } from '../../core/ssh/machine.ts'
import type { SshServices } from '../../core/ssh/services.ts'
import { permitsOf, type Permits } from './permits.ts'
import type { SshConnection } from './transport/connection.ts'

/** What was found out of somebody who logs in, before they are told that they are in. */
export interface Entry {
  readonly right: Authorized
  readonly certificate: SshCertificate
  readonly machine: Machine
}

export class Served {
  readonly right: Authorized
  readonly machine: Machine
  readonly connection: SshConnection
  readonly permits: Permits
  readonly host: Host
  readonly ssh: SshServices
  #refusals = 0

  constructor(entry: Entry, connection: SshConnection, host: Host, ssh: SshServices) {
    this.right = entry.right
    this.machine = entry.machine
    this.connection = connection
    this.permits = permitsOf(entry.right.grant.ssh, entry.certificate, ssh.switches)
    this.host = host
    this.ssh = ssh
  }

  /** An event of this session. */
  tell(code: string, fields: AuditFields = {}): void {
    this.host.audit(code, { decision_id: this.right.decisionId, ...fields })
  }

  /** Something was refused. Beyond the bound the connection ends. */
  refused(code: string, fields: AuditFields): void {
    this.#refusals += 1
    if (this.#refusals <= max('sshRefusalsMax')) return this.tell(code, fields)
    const what =
      'The SSH connection ends: more than sshRefusalsMax channels and requests were refused.'
    return this.connection.end(new ProxyError('limit.exceeded', what, { side: 'client' }))
  }
}
