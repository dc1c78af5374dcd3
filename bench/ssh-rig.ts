// What the SSH bench measures with: one login of this machine, a stock sshd, the raw relay before it, the agent's own server and a
// proxy's session before the sshd, all on plain loopback ports, and OpenSSH's client with one key that all of them know.

import { generateKeyPairSync } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import { startWorld, throwawayLogin } from '../cli/launcher/launcher.fixture.ts'
import { STREAMING_FLAGS } from '../cli/supervisor/runtime.ts'
import { publicBlob } from '../core/ssh/key.ts'
import { opensshKeys, publicLine } from '../protocols/ssh/transport/openssh.fixture.ts'
import { atEnd, type Cleanup, openFolder, temporaryFolder } from '../test/fixtures/files.ts'
import { run, type Output } from '../test/fixtures/processes.ts'
import { sshCertificate, sshTestCa } from '../test/fixtures/ssh.ts'
import { SshAuthority, startSshd } from '../test/fixtures/sshd.ts'
import { cpuSeconds, type Part, startPart } from './scenario.ts'
import { type Wanted, writeWanted, written } from './ssh-wanted.ts'

export interface SshWay {
  readonly name: string
  /** Arguments of `ssh` up to the command. */
  readonly args: readonly string[]
  readonly pid: number
  /** Seconds of CPU so far of what serves it; an sshd's are of processes that come and go unseen. */
  readonly cpu: () => number | undefined
  /** The client's environment. */
  readonly env?: NodeJS.ProcessEnv
}

export interface SshRig {
  /** A file for `ssh-clients.ts`: the key that all of them know. */
  readonly wanted: string
  readonly sshd: SshWay
  readonly relay: SshWay
  readonly agent: SshWay
  readonly proxy: SshWay
}

/** AES-GCM is what both sides do in hardware, and what a proxy offers first. */
const CIPHER = 'aes128-gcm@openssh.com'
const HOST_NAME = 'bench-sshd'

export async function sshRig(cleanup: Cleanup): Promise<SshRig> {
  // sshd without PAM lets no account in that is locked by its password.
  const login = await throwawayLogin(cleanup, ['-p', '*'])
  const world = await startWorld(cleanup)
  const folder = await temporaryFolder(cleanup)
  const { privateKey } = generateKeyPairSync('ed25519')
  const certificate = world.control.certificate(login, { key: publicBlob(privateKey) })
  const identity = await opensshKeys(folder, privateKey, certificate)
  const authority = await SshAuthority.make(cleanup)
  const users = join(await openFolder(cleanup), 'users.pub')
  await writeFile(users, publicLine(world.control.ca.blob))
  const lines = [`TrustedUserCAKeys ${users}`]
  const sshd = await startSshd(cleanup, { authority, names: [HOST_NAME], lines })
  const relay = await startPart('./relay-proxy.ts', [sshd.port], STREAMING_FLAGS)
  atEnd(cleanup, () => relay.stop())
  const hostKey = generateKeyPairSync('ed25519').privateKey
  const host = written(hostKey, sshCertificate(sshTestCa(), hostKey, { kind: 'host' }))
  const shown = Buffer.from(certificate).toString('base64')
  const user = written(privateKey, certificate)
  const ours = { login, host, user, certificate: shown }
  const machine: Wanted = { ...ours, kind: 'machine', folder: world.folder }
  const wanted = join(folder, 'wanted.json')
  writeWanted(wanted, machine)
  const agent = await server(cleanup, machine)
  const line = await authority.knownHosts([HOST_NAME])
  const hostCa = /ssh-ed25519 (\S+)/.exec(line)?.[1] ?? ''
  const behind = { hostCa, hostName: HOST_NAME, port: sshd.port }
  const proxy = await server(cleanup, { ...ours, kind: 'server', ...behind })
  const way = (name: string, port: number, pid: number, cpu: SshWay['cpu']): SshWay => {
    return { name, args: argumentsOf(identity, login, port), pid, cpu }
  }
  const of = (name: string, part: Part): SshWay =>
    way(name, part.said[0] ?? 0, part.pid, () => cpuSeconds(part.pid))
  return {
    wanted,
    sshd: way('stock sshd', sshd.port, sshd.program.pid, () => undefined),
    relay: of('raw relay', relay),
    agent: of('own server', agent),
    proxy: of('session at the proxy', proxy),
  }
}

async function server(cleanup: Cleanup, wanted: Wanted): Promise<Part> {
  const file = join(await temporaryFolder(cleanup), 'wanted.json')
  writeWanted(file, wanted)
  const part = await startPart('./ssh-server.ts', [file], STREAMING_FLAGS)
  atEnd(cleanup, () => part.stop())
  return part
}

function argumentsOf(identity: string, login: string, port: number): readonly string[] {
  const options = [
    'BatchMode=yes',
    'StrictHostKeyChecking=no',
    'UserKnownHostsFile=/dev/null',
    'GlobalKnownHostsFile=/dev/null',
    'LogLevel=ERROR',
    `Ciphers=${CIPHER}`,
  ].flatMap((option) => ['-o', option])
  return ['-F', '/dev/null', '-i', identity, '-p', String(port), ...options, `${login}@127.0.0.1`]
}

/** Runs a line of the shell in which `ssh` stands for the client with all its arguments. Throws unless it ends well. */
export async function withSsh({ name, args, env }: SshWay, line: string): Promise<Output> {
  const quoted = args.map((arg) => `'${arg}'`).join(' ')
  const script = `set -o pipefail; ssh() { /usr/bin/ssh ${quoted} "$@"; }; ${line}`
  const output = await run('/bin/bash', ['-c', script], {
    timeoutMs: 300_000,
    ...(env === undefined ? {} : { env }),
  })
  if (output.code !== 0) throw new Error(`${name}: ${output.code} ${output.stderr}`)
  return output
}
