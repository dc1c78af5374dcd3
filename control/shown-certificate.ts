// A person's certificate that an agent or a proxy shows to control: who came to it. Verified as if the person had connected here;
// whether they may is decided by the caller of this (certificates.ts, permits.ts). It proves no possession of a key.

import { readPemOne } from '../core/cert/pem.ts'
import { verifyPeer } from '../core/cert/verify.ts'
import { ProxyError } from '../core/errors.ts'
import type { CertificateFacts, UserIdentity } from '../core/identity.ts'
import type { Base } from './base.ts'
import type { Directory } from './directory.ts'

export interface ShownPerson {
  readonly identity: UserIdentity
  readonly facts: CertificateFacts
  readonly keySha256: string
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
