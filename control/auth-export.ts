// Public halves of the cluster's CAs as the programs want them that trust them: PEM for TLS, lines of OpenSSH's own files for SSH
// (sshd(8), AUTHORIZED_KEYS and SSH_KNOWN_HOSTS FILE FORMAT).

import { writePem } from '../core/cert/pem.ts'
import { SshReader } from '../core/ssh/bytes.ts'
import type { CaType } from './api/ca-types.ts'
import type { Authorities } from './signer/api.ts'

export function exportAuthority({ cluster, cas, ssh }: Authorities, type: CaType): string {
  const pem = (ders: readonly Uint8Array[]): string => writePem('CERTIFICATE', ...ders)
  const lines = (blobs: readonly Uint8Array[], before: string): string =>
    blobs.map((blob) => `${before}${sshKeyText(blob)} ${cluster}\n`).join('')
  switch (type) {
    case 'user':
      return lines(ssh.user, 'cert-authority ')
    case 'host':
      return lines(ssh.host, `@cert-authority *.${cluster} `)
    case 'openssh':
      // For TrustedUserCAKeys: the key alone.
      return lines(ssh.openssh, '')
    case 'tls-user':
      return pem(cas.user)
    case 'tls-host':
      return pem(cas.host)
    case 'target':
    case 'db':
      return pem(cas[type])
    case 'db-client':
      return pem(cas.db_client)
  }
}

/** `ssh-ed25519 AAAA…`. */
export function sshKeyText(blob: Uint8Array): string {
  return `${new SshReader(blob).text()} ${Buffer.from(blob).toString('base64')}`
}
