// A fresh key pair of a command line: the private half as PEM for a file of ours, the public half as the API takes it.

import { generateKey } from '../core/cert/key.ts'

export interface NewKey {
  /** PKCS#8, PEM. */
  readonly key: string
  /** SPKI, DER, base64. */
  readonly publicKey: string
}

export function newKey(): NewKey {
  const { privateKey, signer } = generateKey('ecdsa-p256')
  return {
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: Buffer.from(signer.spki).toString('base64'),
  }
}
