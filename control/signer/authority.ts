// The authorities of a cluster, made at the first start and opened at every later one: five X.509 CAs (ECDSA P-256, ten years,
// path length 0), each with its own key and subject, and five Ed25519 keys (three that certify SSH keys, snapshots, audit checkpoints).
// A CA whose key is gone stops the start: nothing here replaces a key in silence.

import path from 'node:path'

import { keyId, readPublicKey, sameBytes, type Signer } from '../../core/cert/key.ts'
import {
  attributeValues,
  encodeName,
  isClusterName,
  subjectAttributes,
} from '../../core/cert/name.ts'
import { OID } from '../../core/cert/oid.ts'
import { readPemOne, writePem } from '../../core/cert/pem.ts'
import {
  buildCertificate,
  type Certificate,
  newSerial,
  readIssuer,
  verifyCertificate,
} from '../../core/cert/x509.ts'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { type Authorities, type CaName, SSH_CA_NAMES, type SshCaName } from './api.ts'
import { readPublic, writeNew } from './files.ts'
import type { KeyStore } from './keys.ts'
import { sshBlobOf } from './ssh-key.ts'

export const CA_NAMES: readonly CaName[] = ['user', 'host', 'target', 'db', 'db_client']

/** One CA, ready to sign. */
export interface Authority {
  readonly signer: Signer
  /** The CA certificate, DER. */
  readonly certificate: Uint8Array
  /** Its subject, DER: the issuer of what it signs. */
  readonly subject: Uint8Array
  readonly keyId: Uint8Array
  readonly notAfterMs: number
}

export interface AuthoritySet {
  readonly cluster: string
  readonly cas: Readonly<Record<CaName, Authority>>
  readonly ssh: Readonly<Record<SshCaName, Signer>>
  readonly snapshot: Signer
  readonly audit: Signer
  readonly insecureKeys: boolean
}

export interface AuthorityOptions {
  readonly keys: KeyStore
  /** Where CA certificates lie, beside the keys. */
  readonly folder: string
  readonly cluster: string
  readonly nowMs: number
}

export async function openAuthorities(options: AuthorityOptions): Promise<AuthoritySet> {
  const { keys, cluster } = options
  if (!isClusterName(cluster))
    throw new ProxyError('config.invalid', 'The cluster name is no lower-case DNS name.')
  return {
    cluster,
    cas: {
      user: await openCa('user', options),
      host: await openCa('host', options),
      target: await openCa('target', options),
      db: await openCa('db', options),
      db_client: await openCa('db_client', options),
    },
    ssh: {
      user_ssh: await signingKey(keys, 'user_ssh'),
      host_ssh: await signingKey(keys, 'host_ssh'),
      openssh: await signingKey(keys, 'openssh'),
    },
    snapshot: await signingKey(keys, 'snapshot'),
    audit: await signingKey(keys, 'audit'),
    insecureKeys: keys.insecure,
  }
}

/** The public halves. */
export function publicAuthorities(set: AuthoritySet): Authorities {
  const { cluster, cas, ssh, snapshot, audit, insecureKeys } = set
  return {
    cluster,
    cas: {
      user: [cas.user.certificate],
      host: [cas.host.certificate],
      target: [cas.target.certificate],
      db: [cas.db.certificate],
      db_client: [cas.db_client.certificate],
    },
    ssh: {
      user: [sshBlobOf(ssh.user_ssh.spki)],
      host: [sshBlobOf(ssh.host_ssh.spki)],
      openssh: [sshBlobOf(ssh.openssh.spki)],
    },
    snapshot: [snapshot.spki],
    audit: [audit.spki],
    insecureKeys,
  }
}

/** Keys that no certificate of the cluster may carry. */
export function authoritySpkis(set: AuthoritySet): readonly Uint8Array[] {
  const signers = [...SSH_CA_NAMES.map((name) => set.ssh[name]), set.snapshot, set.audit]
  return [...CA_NAMES.map((name) => set.cas[name].signer), ...signers].map(({ spki }) => spki)
}

async function openCa(name: CaName, options: AuthorityOptions): Promise<Authority> {
  const { keys, folder, cluster, nowMs } = options
  const file = path.join(folder, `${name}.crt`)
  const pem = await readPublic(file)
  const known = await keys.load(name)
  if (known === undefined && pem !== undefined)
    throw broken(name, 'its key is missing', 'Restore the key from a backup.')
  const signer = known ?? (await keys.create(name, 'ecdsa-p256'))
  // A start that was cut off between key and certificate is finished here: nobody has seen that CA yet.
  const der =
    pem === undefined
      ? selfSign(name, cluster, signer, nowMs)
      : readPemOne('CERTIFICATE', pem.toString('latin1'))
  if (pem === undefined) await writeNew(file, Buffer.from(writePem('CERTIFICATE', der)), 0o644)
  return checkCa(name, cluster, signer, der)
}

/** The certificate file is not secret and so not sealed: it must fit the key, the cluster and the purpose. */
function checkCa(name: CaName, cluster: string, signer: Signer, der: Uint8Array): Authority {
  const issuer = readIssuer(der)
  const { certificate } = issuer
  if (!sameBytes(certificate.spki, signer.spki) || !verifyCertificate(certificate, issuer))
    throw broken(name, 'its certificate is of another key', 'Restore both from one backup.')
  if (!sameBytes(certificate.subject.raw, caSubject(name, cluster)))
    throw broken(
      name,
      `it is of the cluster ${clusterOf(certificate)}, not ${cluster}`,
      'A cluster keeps its name; use another data folder for another cluster.',
    )
  return {
    signer,
    certificate: der,
    subject: certificate.subject.raw,
    keyId: keyId(issuer.key),
    notAfterMs: certificate.notAfterMs,
  }
}

function selfSign(name: CaName, cluster: string, signer: Signer, nowMs: number): Uint8Array {
  const id = keyId(readPublicKey(signer.spki))
  return buildCertificate(
    {
      serial: newSerial(),
      issuer: caSubject(name, cluster),
      subject: caAttributes(name, cluster),
      notBeforeMs: nowMs - max('notBeforeSkewMs'),
      notAfterMs: nowMs + max('caTtlMs'),
      spki: signer.spki,
      extensions: {
        basicConstraints: { ca: true, pathLength: 0 },
        keyUsage: ['keyCertSign', 'cRLSign'],
        subjectKeyId: id,
        authorityKeyId: id,
        dnsNames: [],
        ipAddresses: [],
        others: [],
      },
    },
    signer,
  )
}

function caAttributes(name: CaName, cluster: string): ReturnType<typeof subjectAttributes> {
  return subjectAttributes({ commonName: `${cluster} ${name} CA`, organization: cluster })
}

function caSubject(name: CaName, cluster: string): Uint8Array {
  return encodeName(caAttributes(name, cluster))
}

function clusterOf({ subject }: Certificate): string {
  return attributeValues(subject, OID.organization)[0] ?? '(none)'
}

async function signingKey(keys: KeyStore, name: string): Promise<Signer> {
  const signer = (await keys.load(name)) ?? (await keys.create(name, 'ed25519'))
  if (signer.algorithm !== 'ed25519')
    throw broken(name, 'its key is of another kind', 'Restore the key from a backup.')
  return signer
}

function broken(name: string, why: string, next: string): ProxyError {
  return new ProxyError('signer.unavailable', `The authority ${name} cannot be used: ${why}.`, {
    next,
  })
}
