// What control's API says of SSH: certificates, nodes. Part of messages.ts, which names all of it; plain types, no logic. Keys and
// certificates are wire bytes, base64.

import type { Labels } from './messages.ts'

export interface SshLogin {
  /** Wire bytes, base64. */
  readonly certificate: string
  /** Keys that certify hosts, wire bytes, base64. */
  readonly hostCas: readonly string[]
  /** Its principals; none: it opens no node. */
  readonly logins: readonly string[]
}

/** An SSH certificate: wire bytes, base64. */
export interface SshCertificate {
  readonly certificate: string
  readonly expiresAtMs: number
}

/** For one login of a person at a server without an agent, by the proxy that ends their session. */
export interface OpensshRequest {
  /** The person's SSH certificate. */
  readonly userCertificate: string
  /** The node's name. */
  readonly target: string
  readonly principal: string
  /** The proxy's key for this login. */
  readonly publicKey: string
}

/** A host certificate for an sshd that an administrator looks after. */
export interface SshHostSignRequest {
  /** What clients call it: DNS names, addresses. */
  readonly hosts: readonly string[]
  readonly publicKey: string
  readonly ttlMs: number
}

export interface Node {
  /** Of its agent; of a server without one its name. */
  readonly id: string
  readonly name: string
  /** `host:port` of a server without an agent; else empty. */
  readonly address: string
  readonly labels: Labels
  /** Logins that the roles allow there and a certificate can name. */
  readonly logins: readonly string[]
  readonly online: boolean
  readonly subKind: '' | 'openssh'
}
