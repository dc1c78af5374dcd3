// What a bench's SSH server is told: JSON in a file of mode 0600, since a private key may be in it.

import { createPrivateKey, type KeyObject } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'

import type { SshKeyPair } from '../core/ssh/services.ts'

/** A private key as PEM and its certificate as base64. */
export interface WrittenPair {
  readonly key: string
  readonly certificate: string
}

export type Wanted = {
  readonly login: string
  readonly host: WrittenPair
  /** Who logs in, here and at a server behind. */
  readonly user: WrittenPair
} & (
  | { readonly kind: 'machine'; readonly folder: string; readonly certificate: string }
  | {
      readonly kind: 'server'
      readonly port: number
      readonly hostCa: string
      readonly hostName: string
    }
)

export function writeWanted(file: string, wanted: Wanted): void {
  writeFileSync(file, JSON.stringify(wanted), { mode: 0o600 })
}

export function readWanted(file: string): Wanted {
  return JSON.parse(readFileSync(file, 'utf8')) as Wanted
}

export function written(key: KeyObject, certificate: Uint8Array): WrittenPair {
  const pem = key.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { key: pem, certificate: Buffer.from(certificate).toString('base64') }
}

export function pairOf({ key, certificate }: WrittenPair): SshKeyPair {
  return { key: createPrivateKey(key), certificate: Buffer.from(certificate, 'base64') }
}
