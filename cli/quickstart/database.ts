// The quickstart's PostgreSQL: the embedded binaries (or Debian's), with a certificate of the cluster's `db` CA, letting in
// only who shows a certificate of its `db_client` CA. A small table gives the first query something to show.

import path from 'node:path'

import type { ControlClient } from '../../control/api/client.ts'
import { generateKey } from '../../core/cert/key.ts'
import { copyEmbedded, embeddedPackage } from '../embedded-postgres.ts'
import { CommandError } from '../exit.ts'
import {
  debianPostgres,
  type Postgres,
  type PostgresBinaries,
  startPostgres,
} from '../postgres-server.ts'
import { existsSync } from 'node:fs'

/** Database user and database of the first query. */
export const DEMO = { user: 'app', database: 'postgres' } as const

const DEMO_SQL: readonly string[] = [
  `CREATE ROLE ${DEMO.user} LOGIN`,
  'CREATE TABLE fruit (id int PRIMARY KEY, name text NOT NULL, colour text NOT NULL)',
  "INSERT INTO fruit VALUES (1, 'apple', 'red'), (2, 'pear', 'green'), (3, 'plum', 'blue')",
  `GRANT SELECT ON fruit TO ${DEMO.user}`,
]

const CERTIFICATE_MS = 90 * 86_400_000

/** Starts the server on `port` (0: a free one) with what control signs for it. */
export async function startDatabase(
  admin: ControlClient,
  service: string,
  folder: string,
  port: number,
): Promise<Postgres> {
  const { privateKey, signer } = generateKey('ecdsa-p256')
  const signed = await admin.call('auth-sign', {
    format: 'db',
    hosts: ['localhost', '127.0.0.1'],
    ttlMs: CERTIFICATE_MS,
    publicKey: Buffer.from(signer.spki).toString('base64'),
    targets: [service],
  })
  return await startPostgres(await binaries(path.join(folder, 'binaries')), {
    folder: path.join(folder, 'server'),
    port,
    tls: {
      cert: signed.certificate,
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
      ca: signed.cas.db_client.join(''),
    },
    hba: signed.pgHba,
    ident: signed.pgIdent.join('\n'),
    sql: DEMO_SQL,
  })
}

async function binaries(folder: string): Promise<PostgresBinaries> {
  if (embeddedPackage() !== undefined) return await copyEmbedded(folder)
  if (existsSync(path.join(debianPostgres.bin, 'postgres'))) return debianPostgres
  throw new CommandError(
    'there is no PostgreSQL to enrol',
    1,
    'Install PostgreSQL, or name a running one: --database host:port.',
  )
}
