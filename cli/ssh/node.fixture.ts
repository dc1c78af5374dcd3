// A node and the way to it, for tests of SSH clients: OpenSSH's server with a host certificate, a proxy's public port that speaks the
// way in and passes bytes on, and a login on disk whose certificates both sides take. All of it on loopback.

import { existsSync, mkdirSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import net from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { once } from 'node:events'
import tls from 'node:tls'

import { writePem } from '../../core/cert/pem.ts'
import { generateKey } from '../../core/cert/key.ts'
import type { SshCertificateFields } from '../../core/cert/ssh.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import { writePrivateKey } from '../../core/ssh/private-key.ts'
import { readWanted, SSH_ALPN, type WayInAnswer, writeWayInAnswer } from '../../core/ssh/way-in.ts'
import { opensshKeys, publicLine } from '../../protocols/ssh/transport/openssh.fixture.ts'
import { certificate, HOST_CA, keyOf, USER_CA } from '../../protocols/ssh/transport/pair.fixture.ts'
import { CLUSTER, testCa, testLeaf, userIdentity } from '../../test/fixtures/certificates.ts'
import { atEnd, type Cleanup, temporaryFolder } from '../../test/fixtures/files.ts'
import { freePort, portOf } from '../../test/fixtures/net.ts'
import { start } from '../../test/fixtures/processes.ts'
import type { Profile } from '../profile.ts'
import type { FakeTools } from '../tools.fixture.ts'

export const NODE = 'web-1'
/** Who may log in to the node: whoever runs the tests. */
export const ME: string = userInfo().username
export const USER_EXTENSIONS: Readonly<Record<string, string>> = {
  'permit-pty': '',
  'permit-port-forwarding': '',
  'permit-agent-forwarding': '',
}

const nowMs = Date.now()
const X509_HOST_CA = testCa('host CA', nowMs)
const X509_USER_CA = testCa('user CA', nowMs)
export const HOST_CAS: string = writePem('CERTIFICATE', X509_HOST_CA.der)

/** OpenSSH's server; resolves with its port. */
export async function startSshd(
  cleanup: Cleanup,
  options: { readonly principals?: readonly string[] } = {},
): Promise<number> {
  const folder = await temporaryFolder(cleanup)
  const principals = options.principals ?? [`${NODE}.${CLUSTER}`, NODE]
  const host = certificate(keyOf('ed25519'), { kind: 'host', principals })
  const path = await opensshKeys(folder, keyOf('ed25519'), host, 'host')
  const ca = join(folder, 'ca.pub')
  await writeFile(ca, publicLine(publicBlob(USER_CA)))
  // Where root's server locks up the part that talks to strangers; a package's service would make it.
  if (userInfo().uid === 0 && !existsSync('/run/sshd')) mkdirSync('/run/sshd', { mode: 0o755 })
  const port = await freePort()
  const settings = [
    'ListenAddress=127.0.0.1',
    `HostCertificate=${path}-cert.pub`,
    `TrustedUserCAKeys=${ca}`,
    'UsePAM=no',
    'PidFile=none',
    'StrictModes=no',
    'MaxStartups=100',
    'AcceptEnv=LC_*',
    'Subsystem=sftp /usr/lib/openssh/sftp-server',
  ].flatMap((option) => ['-o', option])
  const args = ['-D', '-e', '-f', '/dev/null', '-p', String(port), '-h', path, ...settings]
  await start(cleanup, '/usr/sbin/sshd', args).line(/Server listening/)
  return port
}

export interface TestProxy {
  /** `host:port` */
  readonly address: string
  /** Nodes that were asked for. */
  readonly wanted: string[]
  /** Whether each client showed a certificate of the user CA. */
  readonly authorized: boolean[]
}

export interface ProxyChange {
  readonly alpn?: string
  /** What it answers; absent: the way is open. */
  readonly answer?: (node: string) => WayInAnswer
  /** Says this in place of an answer. */
  readonly says?: Uint8Array
  readonly address?: string
}

/** A proxy's public port before the node whose SSH is at `port`. */
export async function startProxy(
  cleanup: Cleanup,
  port: number | ((node: string) => number),
  change: ProxyChange = {},
): Promise<TestProxy> {
  const { privateKey, signer } = generateKey('ecdsa-p256')
  const identity = userIdentity()
  const leaf = testLeaf(X509_HOST_CA, identity, nowMs, {
    key: signer,
    extend: {
      ipAddresses: [change.address ?? '127.0.0.1'],
      extendedKeyUsage: ['1.3.6.1.5.5.7.3.1'],
    },
  })
  const seen = { wanted: [] as string[], authorized: [] as boolean[] }
  const sockets = new Set<net.Socket>()
  const server = tls.createServer(
    {
      cert: writePem('CERTIFICATE', leaf.der),
      key: privateKey.export({ type: 'pkcs8', format: 'pem' }),
      ca: writePem('CERTIFICATE', X509_USER_CA.der),
      requestCert: true,
      rejectUnauthorized: false,
      ALPNProtocols: [change.alpn ?? SSH_ALPN],
      allowHalfOpen: true,
    },
    (socket) => {
      socket.on('error', () => undefined)
      seen.authorized.push(socket.authorized)
      void serve(socket, port, change, seen.wanted)
    },
  )
  server.on('connection', (socket: net.Socket) => sockets.add(socket))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  atEnd(cleanup, () => {
    server.close()
    for (const socket of sockets) socket.destroy()
  })
  return { address: `127.0.0.1:${portOf(server)}`, ...seen }
}

async function serve(
  socket: tls.TLSSocket,
  port: number | ((node: string) => number),
  change: ProxyChange,
  wanted: string[],
): Promise<void> {
  const [bytes] = (await once(socket, 'data')) as [Buffer]
  socket.pause()
  if (change.says !== undefined) return void socket.end(change.says)
  const reading = readWanted(bytes)
  if (reading.verdict !== 'line') return void socket.destroy()
  wanted.push(reading.value)
  const answer = change.answer?.(reading.value) ?? { open: true }
  if (!answer.open) return void socket.end(writeWayInAnswer(answer))
  const target = net.connect({
    port: typeof port === 'number' ? port : port(reading.value),
    host: '127.0.0.1',
    allowHalfOpen: true,
  })
  target.on('error', () => socket.destroy())
  socket.write(writeWayInAnswer(answer))
  socket.unshift(bytes.subarray(reading.end))
  socket.pipe(target)
  target.pipe(socket)
  socket.once('close', () => target.destroy())
  target.once('close', () => socket.destroySoon())
}

/** A login on disk with an SSH certificate for `login`, at these proxies; the clock is set to now. */
export async function loggedInToSsh(
  tools: FakeTools,
  proxies: readonly string[],
  change: Partial<SshCertificateFields> = {},
): Promise<Profile> {
  tools.clock.advance(Date.now() - tools.clock.now())
  const [proxy = ''] = proxies
  const profile: Profile = { proxy, user: 'alice', cluster: CLUSTER, pins: [], proxies }
  const { profiles } = tools
  const { privateKey, signer } = generateKey('ecdsa-p256')
  const leaf = testLeaf(X509_USER_CA, userIdentity(), nowMs, { key: signer })
  const login = profiles.loginFiles(profile)
  profiles.put(login.key, privateKey.export({ type: 'pkcs8', format: 'pem' }).toString())
  profiles.put(login.certificate, writePem('CERTIFICATE', leaf.der))
  profiles.put(login.cas, HOST_CAS)
  const ssh = profiles.sshFiles(profile)
  const key = keyOf('ed25519')
  const fields = { keyId: 'alice', principals: [ME], extensions: USER_EXTENSIONS, ...change }
  profiles.put(ssh.key, writePrivateKey(key, 'alice'))
  profiles.put(ssh.publicKey, publicLine(publicBlob(key)))
  profiles.put(ssh.certificate, publicLine(certificate(key, fields)))
  profiles.put(ssh.hostCas, publicLine(publicBlob(HOST_CA)))
  await profiles.write(profile)
  return profile
}
