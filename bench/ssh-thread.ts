// A thread that ends SSH on a plain TCP port, for the bench: the session of protocols/ssh with the launcher's machine, or with an sshd
// behind it. Whoever proves a key of a certificate for the login is let in: decisions have a bench of their own.

import { once } from 'node:events'
import net from 'node:net'
import { parentPort } from 'node:worker_threads'

import type { Authorized } from '../core/login.ts'
import type { Host, SshGrant } from '../core/protocol.ts'
import type { SshServices, SshTargetAccess } from '../core/ssh/services.ts'
import { serveSsh } from '../protocols/ssh/session.ts'
import { peer, right } from '../test/scripts/people.ts'
import { LauncherClient } from '../workers/launcher-client.ts'
import { lentStream } from '../workers/lent-stream.ts'
import { systemTimers } from '../workers/timers.ts'
import { pairOf, readWanted, type Wanted } from './ssh-wanted.ts'

const [, , file = ''] = process.argv
const wanted = readWanted(file)
const target = { kind: 'node', name: 'web-1' } as const
const access = { target, principal: wanted.login, resource: '' }
const ALL: SshGrant = {
  forwardAgent: true,
  localForwarding: true,
  remoteForwarding: true,
  x11: true,
  fileCopy: true,
  sessionsMax: 0,
}
const grant = { ...right.grant, ssh: ALL }
const holder = Object.freeze(
  Object.assign({}, right, peer, { access, grant }),
) as unknown as Authorized
const hostKeys = [pairOf(wanted.host)]
let sessions = 0

function services(sessionId: string): SshServices {
  return {
    timers: systemTimers,
    environment: {},
    auditRoom: () => undefined,
    hostKeys,
    reach: () => reach(wanted, sessionId),
    record: () => undefined,
  }
}

async function reach(to: Wanted, sessionId: string): Promise<SshTargetAccess> {
  if (to.kind === 'machine') return { kind: 'machine', machine: machineOf(to, sessionId) }
  const socket = net.connect({ port: to.port, host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  const { user, hostCa, hostName } = to
  return {
    kind: 'server',
    stream: lentStream(socket).stream,
    key: pairOf(user),
    hostCas: [Buffer.from(hostCa, 'base64')],
    hostName,
  }
}

function machineOf(
  { folder, certificate, login }: Extract<Wanted, { kind: 'machine' }>,
  sessionId: string,
): ReturnType<LauncherClient['machine']> {
  return new LauncherClient(folder).machine({
    certificate: Buffer.from(certificate, 'base64'),
    login,
    client: { host: '192.0.2.7', port: 50_022 },
    server: { host: '192.0.2.1', port: 3022 },
    node: {
      name: 'web-1',
      agentId: '0f8fad5b-d9cb-469f-a165-70867728950e',
      labels: { env: 'test' },
    },
    sessionId,
    webProxy: '',
  })
}

function hostOf(sessionId: string): Host {
  return {
    nowMs: Date.now,
    identify: () => Promise.resolve(peer),
    authorize: () => Promise.resolve(holder),
    dial: () => Promise.reject(new Error('SSH reaches, it does not dial')),
    upgradeTls: () => Promise.reject(new Error('no TLS here')),
    tap: () => {
      throw new Error('no tap here')
    },
    audit: () => {},
    active: () => undefined,
    ssh: services(sessionId),
  }
}

const server = net.createServer({ allowHalfOpen: true }, (socket) => {
  const never = new AbortController().signal
  const host = hostOf(`session-${++sessions}`)
  void serveSsh(lentStream(socket).stream, { stage: '', target }, host, never)
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
await once(server, 'listening')
const address = server.address()
parentPort?.postMessage(typeof address === 'object' && address !== null ? address.port : 0)
