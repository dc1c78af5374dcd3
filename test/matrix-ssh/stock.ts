// The seat without Sluice: a stock OpenSSH server on loopback, a second one in between for `ssh -J`, a throwaway account, certificates
// from ssh-keygen. It shows that the cells ask for nothing that OpenSSH itself does not do.

import { chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { openAccount } from '../fixtures/account.ts'
import { type Cleanup, temporaryFolder } from '../fixtures/files.ts'
import { SshAuthority, type SshdOptions, startSshd } from '../fixtures/sshd.ts'
import { binOf, OPENSSH, type SshClient, versionOf } from './clients.ts'
import type { Place } from './run.ts'
import type { SeatParts } from './seat.ts'

const HOST = 'machine.test'
const JUMP = 'jump.test'

export interface StockOptions {
  /** Whose server; without it, Debian 12's. */
  readonly suite?: string | undefined
  /** More of the servers' configuration. */
  readonly lines?: readonly string[]
}

export function stock(client: SshClient, { suite, lines }: StockOptions = {}): Place {
  const bin = suite === undefined ? undefined : binOf(suite)
  const version = bin === undefined ? OPENSSH.name : `OpenSSH ${versionOf(bin)}`
  const server = `sshd of ${version}`
  return {
    name: `${client.name} to ${server}`,
    open: (cleanup) => open(cleanup, client, server, { bin, lines }),
  }
}

async function open(
  cleanup: Cleanup,
  client: SshClient,
  server: string,
  options: Pick<SshdOptions, 'bin' | 'lines'>,
): Promise<SeatParts> {
  const folder = await temporaryFolder(cleanup)
  const authority = await SshAuthority.make(cleanup)
  const account = await openAccount(cleanup)
  const { login, home, uid, gid } = account
  const remote = join(home, 'work')
  await mkdir(remote)
  await chown(remote, uid, gid)
  const machine = await startSshd(cleanup, { authority, names: [HOST], ...options })
  const jump = await startSshd(cleanup, { authority, names: [JUMP], ...options })
  const identity = await authority.person(folder, [login])
  const hosts = join(folder, 'known_hosts')
  await writeFile(hosts, await authority.knownHosts([HOST, JUMP]))
  const config = join(folder, 'ssh_config')
  const ports = { [HOST]: machine.port, [JUMP]: jump.port }
  await writeFile(config, configOf(identity, hosts, login, ports))
  return { client, server, mode: 'stock', config, host: HOST, jump: JUMP, login, folder, remote }
}

function configOf(
  identity: string,
  hosts: string,
  login: string,
  ports: Readonly<Record<string, number>>,
): string {
  const each = Object.entries(ports).flatMap(([name, port]) => [
    `Host ${name}`,
    '  HostName 127.0.0.1',
    `  Port ${port}`,
    `  HostKeyAlias ${name}`,
  ])
  const all = [
    'Host *',
    `  User ${login}`,
    `  IdentityFile ${identity}`,
    `  CertificateFile ${identity}-cert.pub`,
    '  IdentitiesOnly yes',
    '  BatchMode yes',
    '  StrictHostKeyChecking yes',
    `  UserKnownHostsFile ${hosts}`,
    '  GlobalKnownHostsFile /dev/null',
    '  UpdateHostKeys no',
  ]
  return `${[...each, ...all].join('\n')}\n`
}
