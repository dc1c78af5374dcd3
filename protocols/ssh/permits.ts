// What may happen inside one SSH connection: what the roles grant now, and what the certificate was made for. Both must say yes, so that
// neither a role that shrank nor a certificate that was made narrow is widened by the other.

import type { SshCertificate } from '../../core/cert/ssh.ts'
import type { SshGrant } from '../../core/protocol.ts'
import type { NodeSwitches } from '../../core/ssh/services.ts'

export interface Permits {
  readonly terminal: boolean
  readonly forwardAgent: boolean
  readonly localForwarding: boolean
  readonly remoteForwarding: boolean
  readonly x11: boolean
  readonly fileCopy: boolean
  /** 0: no limit but the transport's. */
  readonly sessionsMax: number
  /** The one command that runs, whatever is asked for. */
  readonly forced: string | undefined
}

/** Critical options that are carried out: the first here, the second by who identifies the client. */
const CARRIED_OUT: readonly string[] = ['force-command', 'source-address']

export function permitsOf(
  grant: SshGrant | undefined,
  certificate: SshCertificate,
  switches: NodeSwitches = EVERYTHING,
): Permits {
  const { extensions, critical } = certificate
  const has = (name: string): boolean => Object.hasOwn(extensions, `permit-${name}`)
  const ports = has('port-forwarding')
  return {
    terminal: has('pty'),
    forwardAgent: has('agent-forwarding') && grant?.forwardAgent === true,
    localForwarding: ports && switches.portForwarding && grant?.localForwarding === true,
    remoteForwarding: ports && switches.portForwarding && grant?.remoteForwarding === true,
    x11: has('X11-forwarding') && switches.x11 && grant?.x11 === true,
    fileCopy: switches.fileCopy && grant?.fileCopy === true,
    sessionsMax: grant?.sessionsMax ?? 0,
    forced: Object.hasOwn(critical, 'force-command') ? critical['force-command'] : undefined,
  }
}

const EVERYTHING: NodeSwitches = { fileCopy: true, portForwarding: true, x11: true }

/** A restriction of the certificate that nobody here carries out: it must not become none. */
export function unknownRestriction({ critical }: SshCertificate): string | undefined {
  return Object.keys(critical).find((name) => !CARRIED_OUT.includes(name))
}
