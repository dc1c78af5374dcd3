// The seats behind Sluice: a cluster that is a node itself and knows a stock server without an agent, a person with the real `tsh login`
// and what `tsh config` prints. In node mode SSH with the node ends at the agent; in proxy mode, and with the stock server, at the proxy.

import { generateKeyPairSync } from 'node:crypto'
import { chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { publicBlob } from '../../core/ssh/key.ts'
import { opensshKeys } from '../../protocols/ssh/transport/openssh.fixture.ts'
import { type Account, openAccount } from '../fixtures/account.ts'
import { type Cluster, startCluster } from '../fixtures/cluster.ts'
import { NODE_NAME } from '../fixtures/cluster-file.ts'
import { type Cleanup, openFolder, temporaryFolder } from '../fixtures/files.ts'
import { startSshd } from '../fixtures/sshd.ts'
import { Tsh } from '../fixtures/tsh.ts'
import type { SshClient } from './clients.ts'
import type { Place } from './run.ts'
import type { SeatParts } from './seat.ts'

const STOCK_NAME = 'stock-1'
const SUFFIX = '.test.cluster'

export type SluiceMode = 'node' | 'proxy'
export type SluiceServer = 'agent' | 'stock'

/** A cluster in one mode, and somebody who may be one login at both servers. */
export interface Site {
  readonly mode: SluiceMode
  readonly cluster: Cluster
  readonly account: Account
  readonly tsh: Tsh
  /** What `tsh config` printed, in a file. */
  readonly config: string
}

const ROLE = {
  options: { forward_agent: true },
  allow: { node_labels: { '*': '*' }, logins: ['{{internal.logins}}'] },
}

export async function openSite(cleanup: Cleanup, mode: SluiceMode): Promise<Site> {
  const account = await openAccount(cleanup)
  const cluster = await startCluster(cleanup, {
    ssh: { labels: { env: 'test' } },
    extra: {
      auth_service: [`session_recording: ${mode}`],
      proxy_service: ["resources_may_dial: ['127.0.0.0/8']"],
    },
  })
  await cluster.role('everywhere', ROLE)
  await addStockServer(cleanup, cluster)
  const who = { user: 'matrix', roles: ['everywhere'], traits: { logins: [account.login] } }
  const tsh = await Tsh.login(cleanup, cluster, who)
  return { mode, cluster, account, tsh, config: await tsh.sshConfig() }
}

/** `site` may be the same for several places: it is opened once, by whoever comes first. */
export function sluice(
  client: SshClient,
  server: SluiceServer,
  mode: SluiceMode,
  site: () => Promise<Site>,
): Place {
  return {
    name: `${client.name} to ${server} through Sluice in ${mode} mode`,
    open: async (cleanup) => await seatAt(cleanup, client, server, await site()),
  }
}

/** An opened site, or the opening of one. */
export function shared(open: () => Promise<Site>): () => Promise<Site> {
  let opened: Promise<Site> | undefined
  return () => (opened ??= open())
}

async function seatAt(
  cleanup: Cleanup,
  client: SshClient,
  server: SluiceServer,
  { mode, cluster, account, tsh, config }: Site,
): Promise<SeatParts> {
  const { login, home, uid, gid } = account
  const folder = await temporaryFolder(cleanup)
  const remote = await temporaryFolderOf(home, uid, gid)
  return {
    client,
    server: server === 'agent' ? 'the agent’s node' : 'a stock sshd',
    mode: `${mode} mode`,
    config,
    host: `${server === 'agent' ? NODE_NAME : STOCK_NAME}${SUFFIX}`,
    jump: `anybody@${cluster.proxy}`,
    login,
    folder,
    remote,
    env: { SLUICE_HOME: tsh.env['SLUICE_HOME'] },
  }
}

let folders = 0

/** Within the home of the login, with which it goes. */
async function temporaryFolderOf(home: string, uid: number, gid: number): Promise<string> {
  const folder = join(home, `work${++folders}`)
  await mkdir(folder)
  await chown(folder, uid, gid)
  return folder
}

/** A stock sshd that trusts the cluster, certified by it, as an administrator would set it up by hand. */
async function addStockServer(cleanup: Cleanup, cluster: Cluster): Promise<void> {
  const folder = await openFolder(cleanup)
  const users = join(folder, 'users.pub')
  await writeFile(users, (await cluster.admin.call('auth-export', { type: 'openssh' })).pem)
  const { port } = await startSshd(cleanup, {
    authority: { users, machine: (at, hosts) => certified(cluster, at, hosts) },
    names: [STOCK_NAME],
  })
  await cluster.admin.call('resource-create', {
    kind: 'node',
    document: {
      kind: 'node',
      version: 'v2',
      sub_kind: 'openssh',
      metadata: { name: STOCK_NAME, labels: { env: 'test' } },
      spec: { addr: `127.0.0.1:${port}`, hostname: STOCK_NAME },
    },
  })
}

async function certified(
  cluster: Cluster,
  folder: string,
  hosts: readonly string[],
): Promise<string> {
  const { privateKey } = generateKeyPairSync('ed25519')
  const publicKey = Buffer.from(publicBlob(privateKey)).toString('base64')
  const wish = { hosts, publicKey, ttlMs: 3_600_000 }
  const { certificate } = await cluster.admin.call('auth-sign-ssh-host', wish)
  return await opensshKeys(folder, privateKey, Buffer.from(certificate, 'base64'), 'host')
}
