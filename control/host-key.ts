// Control's own certificate: a key drawn at each start and kept in memory alone, certified by the host CA with the control role,
// renewed at a third of its life. The chain sent to clients ends with the CA, so that they can check its pin.

import { hash } from 'node:crypto'

import { buildCsr } from '../core/cert/csr.ts'
import { generateKey } from '../core/cert/key.ts'
import { max } from '../core/limits.ts'
import type { TlsMaterial } from './api/tls.ts'
import type { Base } from './base.ts'
import type { Cache } from './cache.ts'
import type { Issuer } from './issue.ts'

export class HostKey {
  readonly #base: Base
  readonly #cache: Cache
  readonly #issuer: Issuer
  readonly #id: string
  #material: TlsMaterial
  #renewAtMs = 0

  private constructor(base: Base, cache: Cache, issuer: Issuer, id: string) {
    this.#base = base
    this.#cache = cache
    this.#issuer = issuer
    this.#id = id
    this.#material = { chain: '', key: '', trustRevision: '' }
  }

  static async issue(base: Base, cache: Cache, issuer: Issuer, id: string): Promise<HostKey> {
    const key = new HostKey(base, cache, issuer, id)
    await key.renew()
    return key
  }

  get material(): TlsMaterial {
    return this.#material
  }

  isDue(): boolean {
    return this.#base.clock.now() >= this.#renewAtMs
  }

  /** A new key and certificate. */
  async renew(): Promise<TlsMaterial> {
    const { cluster, clock } = this.#base
    const { privateKey, signer } = generateKey('ecdsa-p256')
    const issued = await this.#issuer.host(
      {
        identity: {
          type: 'system',
          role: 'control',
          id: this.#id,
          cluster,
          services: [],
          generation: 1,
        },
        csr: buildCsr(this.#id, signer),
        ttlMs: max('hostCertTtlMs'),
        self: true,
      },
      { audit: (name, code, fields) => this.#base.audit(name, code, fields) },
    )
    const { user, host } = this.#cache.authorities.cas
    this.#renewAtMs = clock.now() + max('hostCertTtlMs') / 3
    this.#material = {
      chain: issued.chain,
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      trustRevision: hash('sha256', Buffer.concat([...user, ...host]), 'hex'),
    }
    return this.#material
  }
}
