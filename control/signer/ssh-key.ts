// The signer's Ed25519 keys as SSH has them: the public half as a blob, and a CA of OpenSSH certificates over a signer.

import { createPublicKey } from 'node:crypto'

import type { Signer } from '../../core/cert/key.ts'
import type { SshCa } from '../../core/cert/ssh.ts'
import { string } from '../../core/ssh/bytes.ts'
import { publicBlob } from '../../core/ssh/key.ts'

export function sshBlobOf(spki: Uint8Array): Uint8Array {
  return publicBlob(createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' }))
}

export function sshCaOf(signer: Signer): SshCa {
  return {
    blob: sshBlobOf(signer.spki),
    sign: (bytes) => Buffer.concat([string('ssh-ed25519'), string(signer.sign(bytes))]),
  }
}
