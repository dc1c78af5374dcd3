// The proxy's process: joins control, keeps its snapshot, opens the public port.

import os from 'node:os'

import { type ConfigFile, loadConfig } from '../../control/config.ts'
import { connectControl, type ControlClient } from '../../control/api/client.ts'
import { signedMessageOf } from '../../control/api/signed-item.ts'
import type { DialGuard } from '../../core/agent-target.ts'
import { systemClock } from '../../core/clock.ts'
import { ProxyError } from '../../core/errors.ts'
import type { Logger } from '../../core/log.ts'
import type { ApiReply } from '../../workers/front.ts'
import { Proxy } from '../../workers/proxy-main.ts'
import type { ProxyControl } from '../../workers/proxy-options.ts'
import { Networks } from '../../workers/source.ts'
import { systemTimers } from '../../workers/timers.ts'
import { connectTo } from '../connect.ts'
import { splitAddress } from '../supervisor/listeners.ts'
import { type RoleStart, runRole, type RunningRole } from './bootstrap.ts'
import { startDiagnostics } from './diagnostics.ts'
import { frontKeys } from './front-keys.ts'
import { hostCas } from './identity.ts'
import { leaseControl } from './leases.ts'
import { Member } from './member.ts'
import { frontGateway, frontPages } from './pages.ts'
import {
  drainMs,
  hostname,
  joinToken,
  ownPorts,
  pins,
  publicAddress,
  roleFolder,
  roleLogger,
} from './settings.ts'
import { SshHost } from './ssh-host.ts'

runRole('proxy', begin)

async function begin(start: RoleStart): Promise<RunningRole> {
  const config = loadConfig(start.config, start.configFile)
  const log = roleLogger('proxy', start.config, start.configFile)
  const control = controlAddress(config, start)
  const address = publicAddress(config)
  const folder = roleFolder(config, 'proxy')
  const connect = connectTo(() => [control], 'control')
  const member = await Member.open({
    folder,
    connect,
    pins: start.local?.pins ?? pins(config),
    join: {
      role: 'proxy',
      token: start.local?.token ?? joinToken(config),
      hostname: hostname(config),
      services: ['proxy'],
      address,
    },
    log,
  })
  const anonymous = connectControl({
    connect,
    trust: () => ({ cas: hostCas(member.identity), cluster: member.identity.cluster }),
  })
  const sshHost = new SshHost({
    folder,
    clock: systemClock,
    timers: systemTimers,
    log,
    certify: (publicKey) => member.client.call('certificate-ssh-host', { publicKey }),
    onKeys: (keys) => proxy.replaceSshHost(keys),
  })
  const proxy = makeProxy(config, start, { member, anonymous, control, address, sshHost, log })
  sshHost.serves(address)
  member.onRenewed(({ certificate, key }) => proxy.replaceHost({ certificate, key }))
  const port = await proxy.start()
  const diagnostics = await startDiagnostics(start.listeners, {
    role: 'proxy',
    ready: () => proxy.ready,
    gauges: () => ({
      ...proxy.ledger.counts(),
      ...flat(proxy.counters),
      audit_spool: member.spool.pending,
      recordings_at_risk: member.recordings.atRisk,
    }),
  })
  const { host } = splitAddress(config.proxy_service.web_listen_addr)
  return {
    addresses: { public: `${host}:${port}`, ...diagnostics.addresses },
    reload: async (text) =>
      proxy.replaceFront(frontKeys(loadConfig(text, start.configFile), folder, address)),
    async drain() {
      await proxy.drain(drainMs(config))
      sshHost.close()
      diagnostics.close()
      anonymous.close()
      await member.close()
    },
  }
}

interface ProxyParts {
  readonly member: Member
  readonly anonymous: ControlClient
  readonly control: string
  readonly address: string
  readonly sshHost: SshHost
  readonly log: Logger
}

function makeProxy(
  config: ConfigFile,
  start: RoleStart,
  { member, anonymous, control, address, sshHost, log }: ProxyParts,
): Proxy {
  const listen = start.listeners['public']
  if (listen === undefined)
    throw new ProxyError('config.invalid', 'the supervisor passed no public port')
  const { id, cluster, certificate, key } = member.identity
  const {
    proxy_protocol: mode,
    proxy_protocol_trusted: trusted,
    unauthenticated_per_source: perSourceMax,
    worker_threads: threads,
  } = config.proxy_service
  return new Proxy({
    proxyId: id,
    cluster,
    publicAddress: address,
    listen,
    threads: threads ?? Math.max(1, os.availableParallelism() - 1),
    proxyProtocol: { mode: mode ?? 'unset', trusted },
    ...(perSourceMax === undefined ? {} : { perSourceMax }),
    controlAddresses: [splitAddress(control)],
    host: { certificate, key },
    ...(sshHost.keys === undefined ? {} : { sshHost: sshHost.keys }),
    onSnapshot: ({ ssh }) => {
      if (ssh !== undefined) sshHost.trusts(ssh.host)
    },
    front: frontKeys(config, roleFolder(config, 'proxy'), address),
    pages: frontPages(),
    gateway: frontGateway(),
    guard: guardOf(config, address),
    control: controlOf(member, anonymous, address),
    saved: member.savedTrust(),
    save: (saved) => member.saveTrust(saved),
    anchor: member.anchor(),
    statements: member.spool,
    recordings: member.recordings,
    audit: (name, code, fields) => member.audit(name, code, fields),
    clock: systemClock,
    log,
  })
}

/** What servers without an agent may not be. */
function guardOf(config: ConfigFile, address: string): DialGuard {
  const { resources_may_dial: allowed } = config.proxy_service
  // Said at the start, not at the first dial.
  new Networks(allowed)
  return {
    section: 'proxy_service',
    allowed,
    ownPorts: ownPorts(config),
    ownAddresses: [address],
  }
}

/** Where control is: named, told by the supervisor, or on this machine. */
function controlAddress(config: ConfigFile, start: RoleStart): string {
  if (config.sluice.auth_server !== undefined) return config.sluice.auth_server
  if (start.local !== undefined) return start.local.controlAddress
  const { port } = splitAddress(config.auth_service.listen_addr)
  return `127.0.0.1:${port}`
}

function controlOf(member: Member, anonymous: ControlClient, address: string): ProxyControl {
  const { client } = member
  return {
    async *watch({ revision, lockRevision: locks, inventory }, signal) {
      for await (const item of client.stream(
        'watch',
        { class: 'proxy', revision, locks, inventory },
        { signal },
      ))
        yield signedMessageOf(item)
    },
    async ticketKeys() {
      const { keys } = await client.call('ticket-keys', {})
      return keys.map(({ id, key, notAfterMs }) => ({
        id,
        key: Buffer.from(key, 'base64'),
        notAfterMs,
      }))
    },
    async report(report) {
      const recordingsAtRisk = member.recordings.atRisk
      await client.call('proxy-self', { address, ...report, recordingsAtRisk })
    },
    async sshPermit({ target, principal, certificate }) {
      const userSshCertificate = Buffer.from(certificate).toString('base64')
      const { permit } = await client.call('permit', { userSshCertificate, target, principal })
      return Buffer.from(permit, 'base64')
    },
    async openssh({ target, principal, certificate, publicKey }) {
      const reply = await client.call('certificate-openssh', {
        userCertificate: Buffer.from(certificate).toString('base64'),
        target: target.name,
        principal,
        publicKey: Buffer.from(publicKey).toString('base64'),
      })
      return Buffer.from(reply.certificate, 'base64')
    },
    ...leaseControl(client),
    call: (method, path, body) => passOn(anonymous, method, path, body),
  }
}

/** A browser's call as one of the anonymous calls it may make. */
async function passOn(
  client: ControlClient,
  method: string,
  path: string,
  body: string,
): Promise<ApiReply> {
  try {
    return { status: 200, body: JSON.stringify(await callByPath(client, method, path, body)) }
  } catch (error) {
    if (!(error instanceof ProxyError)) throw error
    const { code, message, next } = error
    const status =
      code === 'control.unavailable'
        ? 503
        : code === 'resource.not-found'
          ? 404
          : code === 'limit.exceeded'
            ? 429
            : 400
    return {
      status,
      body: JSON.stringify({ error: { code, message, ...(next === undefined ? {} : { next }) } }),
    }
  }
}

async function callByPath(
  client: ControlClient,
  method: string,
  path: string,
  body: string,
): Promise<unknown> {
  if (path === '/v1/ping') return await client.call('ping', {})
  if (path === '/v1/cas') return await client.call('cas', {})
  const token = decodeURIComponent(/^\/v1\/invites\/([^/]+)$/.exec(path)?.[1] ?? '')
  if (method === 'GET') return await client.call('invite-read', { token })
  const { password, otp } = JSON.parse(body) as Readonly<Record<string, unknown>>
  if (typeof password !== 'string' || typeof otp !== 'string')
    throw new ProxyError('resource.invalid', 'The answer needs a password and a one-time code.')
  return await client.call('invite-complete', { token, password, otp })
}

function flat(value: object, prefix = ''): Record<string, number> {
  const pairs = Object.entries(value).flatMap(([name, inner]: [string, unknown]) => {
    const key = prefix === '' ? name : `${prefix}_${name}`
    if (typeof inner === 'number') return [[key, inner] as const]
    return typeof inner === 'object' && inner !== null ? Object.entries(flat(inner, key)) : []
  })
  return Object.fromEntries(pairs)
}
