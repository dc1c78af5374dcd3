// The certificates of the handshake bench as files, since each of its processes and haproxy read them from disk: ECDSA P-256
// everywhere, a user's certificate like a real one, with identity and route.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { writePem } from '../core/cert/pem.ts'
import { CLUSTER, userIdentity } from '../test/fixtures/certificates.ts'
import { pemPair, serverPair, testCluster } from '../test/fixtures/tls.ts'

export { CLUSTER } from '../test/fixtures/certificates.ts'
export const ALPN = 'postgresql'

export interface Paths {
  readonly ca: string
  readonly server: string
  readonly serverKey: string
  /** Certificate and key in one, as haproxy wants them. */
  readonly serverBoth: string
  readonly client: string
  readonly clientKey: string
}

export function readPaths(folder: string): Paths {
  return {
    ca: join(folder, 'ca.pem'),
    server: join(folder, 'server.crt'),
    serverKey: join(folder, 'server.key'),
    serverBoth: join(folder, 'server.pem'),
    client: join(folder, 'client.crt'),
    clientKey: join(folder, 'client.key'),
  }
}

export function writePaths(folder: string): Paths {
  const paths = readPaths(folder)
  const cluster = testCluster()
  const server = serverPair(cluster)
  const route = { kind: 'db', name: 'orders', protocol: 'postgres' } as const
  const identity = userIdentity({ cluster: CLUSTER, route })
  const client = pemPair(cluster.user, identity, cluster.nowMs)
  const texts: Readonly<Record<keyof Paths, string>> = {
    ca: writePem('CERTIFICATE', cluster.user.der),
    server: server.certificate,
    serverKey: server.key,
    serverBoth: server.certificate + server.key,
    client: client.certificate,
    clientKey: client.key,
  }
  for (const [name, text] of Object.entries(texts))
    writeFileSync(paths[name as keyof Paths], text, { mode: 0o600 })
  return paths
}
