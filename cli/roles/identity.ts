// A proxy's or agent's identity on disk: `<data_dir>/<role>/identity.json`, 0600. Made by joining with a one-time or static
// token, renewed in place long before it ends. The token leaves this process only after control proved itself by its pin.

import path from 'node:path'

import type { ControlClient } from '../../control/api/client.ts'
import type { HostCertificate } from '../../control/api/messages.ts'
import { buildCsr } from '../../core/cert/csr.ts'
import { generateKey } from '../../core/cert/key.ts'
import { readPem, writePem } from '../../core/cert/pem.ts'
import { hostOfAddress, publicName } from '../../core/cert/public-name.ts'
import { type Certificate, readCertificate } from '../../core/cert/x509.ts'
import { ProxyError } from '../../core/errors.ts'
import { readText, writeWhole } from '../profile.ts'

/** What a host knows of itself and of whom it trusts. */
export interface HostIdentity {
  readonly id: string
  readonly role: 'proxy' | 'agent'
  readonly cluster: string
  /** PEM. */
  readonly certificate: string
  readonly key: string
  readonly hostCas: readonly string[]
  /** SPKI (DER, base64) of the keys that sign snapshots, as of the last join or renewal. */
  readonly signers: readonly string[]
  readonly proxies: readonly string[]
}

export interface JoinOptions {
  readonly role: 'proxy' | 'agent'
  readonly token: string
  readonly hostname: string
  readonly services: readonly string[]
  readonly address?: string
}

export class IdentityFile {
  readonly #file: string

  constructor(folder: string) {
    this.#file = path.join(folder, 'identity.json')
  }

  read(): HostIdentity | undefined {
    const text = readText(this.#file)
    return text === undefined ? undefined : (JSON.parse(text) as HostIdentity)
  }

  write(identity: HostIdentity): void {
    writeWhole(this.#file, `${JSON.stringify(identity)}\n`)
  }
}

/** Joins: draws a key, proves it, and gets the first certificate. `client` must trust by pin. */
export async function join(client: ControlClient, options: JoinOptions): Promise<HostIdentity> {
  const { key, csr } = newRequest()
  const reply = await client.call('join', {
    token: options.token,
    csr,
    hostname: options.hostname,
    role: options.role,
    services: options.services,
    ...(options.address === undefined ? {} : { address: options.address }),
  })
  return { id: reply.id, role: options.role, cluster: reply.cluster, key, ...trustOf(reply) }
}

/** A new key and certificate for the same identity. `address`: a proxy's, as it is now. */
export async function renew(
  client: ControlClient,
  identity: HostIdentity,
  address: string | undefined,
): Promise<HostIdentity> {
  const { key, csr } = newRequest()
  const reply = await client.call('renew', {
    csr,
    ...(address === undefined ? {} : { address }),
  })
  return { ...identity, key, ...trustOf(reply) }
}

/** Whether the certificate carries the host of this public address. */
export function carriesHost({ certificate, cluster }: HostIdentity, address: string): boolean {
  const { extensions } = leafOf(certificate)
  const found = publicName(hostOfAddress(address), cluster)
  if (found.problem !== undefined) return false
  return [...extensions.dnsNames, ...extensions.ipAddresses].includes(found.name)
}

/** When the identity should be renewed: a third into its life. */
export function renewAtMs(identity: HostIdentity): number {
  const { notBeforeMs, notAfterMs } = leafOf(identity.certificate)
  return notBeforeMs + (notAfterMs - notBeforeMs) / 3
}

/** The host CAs as DER. */
export function hostCas(identity: HostIdentity): readonly Uint8Array[] {
  return identity.hostCas.flatMap((pem) => readPem('CERTIFICATE', pem))
}

/** A fresh P-256 key (PKCS#8, PEM) and a request that proves it. Control draws the names; the request's own are ignored. */
export function newRequest(): { key: string; csr: string } {
  const { privateKey, signer } = generateKey('ecdsa-p256')
  const csr = writePem('CERTIFICATE REQUEST', buildCsr('sluice', signer))
  return { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(), csr }
}

function trustOf(
  reply: HostCertificate,
): Pick<HostIdentity, 'certificate' | 'hostCas' | 'signers' | 'proxies'> {
  return {
    certificate: reply.certificate,
    hostCas: reply.cas.host,
    signers: reply.signers,
    proxies: reply.proxies,
  }
}

function leafOf(pem: string): Certificate {
  const [leaf] = readPem('CERTIFICATE', pem)
  if (leaf === undefined)
    throw new ProxyError('cert.malformed', 'the identity on disk holds no certificate')
  return readCertificate(leaf)
}
