// The certificate browsers see: the configured key pair, else a self-signed one for the public address, made once and kept. tsh
// does not depend on it: it logs in end to end with control.

import { readFileSync } from 'node:fs'
import path from 'node:path'

import type { ConfigFile } from '../../control/config.ts'
import { generateKey } from '../../core/cert/key.ts'
import { encodeName, isIpAddress, subjectAttributes } from '../../core/cert/name.ts'
import { OID } from '../../core/cert/oid.ts'
import { writePem } from '../../core/cert/pem.ts'
import { buildCertificate, newSerial, readCertificate } from '../../core/cert/x509.ts'
import { max } from '../../core/limits.ts'
import type { HostKeys } from '../../workers/trust.ts'
import { hostOf, readText, writeWhole } from '../profile.ts'

const DAY_MS = 86_400_000
const LIFE_MS = 365 * DAY_MS

export function frontKeys(config: ConfigFile, folder: string, address: string): HostKeys {
  const [pair] = config.proxy_service.https_keypairs
  if (pair !== undefined)
    return {
      certificate: readFileSync(pair.cert_file, 'utf8'),
      key: readFileSync(pair.key_file, 'utf8'),
    }
  const file = path.join(folder, 'front.json')
  const kept = readText(file)
  if (kept !== undefined) {
    const {
      address: madeFor,
      untilMs,
      ...keys
    } = JSON.parse(kept) as HostKeys & { address: string; untilMs: number }
    if (madeFor === address && untilMs > Date.now() + 30 * DAY_MS) return keys
  }
  const keys = selfSigned(hostOf(address), Date.now())
  writeWhole(file, JSON.stringify({ ...keys, address, untilMs: Date.now() + LIFE_MS }))
  return keys
}

function selfSigned(host: string, nowMs: number): HostKeys {
  const { privateKey, signer } = generateKey('ecdsa-p256')
  const name = subjectAttributes({ commonName: host.slice(0, 64) })
  const names = isIpAddress(host)
    ? { dnsNames: [], ipAddresses: [host] }
    : { dnsNames: [host], ipAddresses: [] }
  const der = buildCertificate(
    {
      serial: newSerial(),
      issuer: encodeName(name),
      subject: name,
      notBeforeMs: nowMs - max('notBeforeSkewMs'),
      notAfterMs: nowMs + LIFE_MS,
      spki: signer.spki,
      extensions: {
        ...names,
        extendedKeyUsage: [OID.serverAuth],
        keyUsage: ['digitalSignature'],
        others: [],
      },
    },
    signer,
  )
  readCertificate(der)
  return {
    certificate: writePem('CERTIFICATE', der),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}
