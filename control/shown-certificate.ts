// A person's certificate that an agent or a proxy shows to control: who came to it. Verified as if the person had connected here;
// whether they may is decided by the caller of this (certificates.ts, permits.ts). It proves no possession of a key.

import { readPemOne } from '../core/cert/pem.ts'
import { readSshPeer } from '../core/cert/ssh-identity.ts'
import { verifyPeer } from '../core/cert/verify.ts'
import { ProxyError } from '../core/errors.ts'
import type { CertificateFacts, UserIdentity } from '../core/identity.ts'
import type { Base } from './base.ts'
import type { Directory } from './directory.ts'

export interface ShownPerson {
  readonly identity: UserIdentity
  readonly facts: CertificateFacts
  readonly keySha256: string
  /** Of an SSH certificate: the only ones it is good for. */
  readonly logins?: readonly string[]
}

/** Throws with the code of what is wrong. */
export function readShown(base: Base, directory: Directory, pem: string): ShownPerson {
  const want = {
    cas: directory.authorities.cas.user,
    purpose: 'client',
    type: 'user',
    cluster: base.cluster,
  } as const
  const verified = verifyPeer([readPemOne('CERTIFICATE', pem)], want, base.clock.now())
  if (!verified.ok) throw new ProxyError(verified.code, verified.reason, { side: 'client' })
  const { identity, facts, keySha256 } = verified
  if (identity.type === 'user') return { identity, facts, keySha256 }
  throw new ProxyError('policy.denied', 'That is not a user’s certificate.', { side: 'client' })
}

/** Whoever ends the session checks the one and runs the other; an unknown restriction is refused here too. */
const CARRIED_OUT = ['source-address', 'force-command']

/** The same of an SSH certificate, base64. */
export function readShownSsh(base: Base, directory: Directory, text: string): ShownPerson {
  const reading = readSshPeer(Buffer.from(text, 'base64'), {
    cas: directory.authorities.ssh.user,
    cluster: base.cluster,
    nowMs: base.clock.now(),
    critical: CARRIED_OUT,
  })
  if (!reading.ok) throw new ProxyError(reading.code, reading.reason, { side: 'client' })
  const { identity, facts, keySha256, principals } = reading
  return { identity, facts, keySha256, logins: principals }
}
