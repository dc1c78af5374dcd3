// Keys and certificates as the files that OpenSSH's programs read.

import type { KeyObject } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { SshReader, string, u32 } from '../../../core/ssh/bytes.ts'
import { publicBlob } from '../../../core/ssh/key.ts'
import type { ByteStream } from '../../../core/stream.ts'
import { changed } from '../../../test/fake/stream.ts'
import { privateFile } from '../../../test/fixtures/files.ts'

/** Writes `NAME` and `NAME-cert.pub`; returns the path of the key. */
export async function opensshKeys(
  folder: string,
  key: KeyObject,
  certificate: Uint8Array,
  name = 'id',
): Promise<string> {
  const path = await privateFile(folder, name, privateText(key))
  await writeFile(join(folder, `${name}-cert.pub`), publicLine(certificate))
  await writeFile(join(folder, `${name}.pub`), publicLine(publicBlob(key)))
  return path
}

/** A line of a public key or certificate. */
export function publicLine(blob: Uint8Array): string {
  return `${new SshReader(blob).text()} ${Buffer.from(blob).toString('base64')}\n`
}

/** OpenSSH reads its own format for Ed25519 and PEM for the others. */
function privateText(key: KeyObject): string {
  const jwk = key.export({ format: 'jwk' })
  if (jwk.crv !== 'Ed25519') {
    const type = jwk.kty === 'EC' ? 'sec1' : 'pkcs1'
    return key.export({ type, format: 'pem' }).toString()
  }
  const [d, x] = [Buffer.from(jwk.d ?? '', 'base64url'), Buffer.from(jwk.x ?? '', 'base64url')]
  const pair = [string('ssh-ed25519'), string(x), string(Buffer.concat([d, x])), string('')]
  const fields = Buffer.concat([u32(7), u32(7), ...pair])
  const padding = Buffer.from([1, 2, 3, 4, 5, 6, 7]).subarray(0, (8 - (fields.length % 8)) % 8)
  const blob = Buffer.concat([
    Buffer.from('openssh-key-v1\0'),
    string('none'),
    string('none'),
    string(''),
    u32(1),
    string(publicBlob(key)),
    string(Buffer.concat([fields, padding])),
  ])
  const text = blob.toString('base64').replace(/.{70}/g, '$&\n')
  return `-----BEGIN OPENSSH PRIVATE KEY-----\n${text}\n-----END OPENSSH PRIVATE KEY-----\n`
}

/** The same stream, but a chunk that is given back is overwritten at once, as by its next reader: a view that was kept reads nonsense. */
export function spoiled(stream: ByteStream): ByteStream {
  return changed(stream, {
    writeAll: async (pieces) => stream.writeAll?.(pieces),
    release: (chunk) => {
      chunk.fill(0xee)
      stream.release?.(chunk)
    },
  })
}
