// The agent's process: joins through the proxy's public port, announces its databases, links to every proxy, serves sessions.

import { readFileSync } from 'node:fs'
import os from 'node:os'

import { type ConfigFile, type DatabaseConfig, loadConfig } from '../../control/config.ts'
import { generateKey } from '../../core/cert/key.ts'
import { writePem } from '../../core/cert/pem.ts'
import { systemClock } from '../../core/clock.ts'
import type { TargetRef } from '../../core/identity.ts'
import type { Logger } from '../../core/log.ts'
import { Agent, type AgentControl } from '../../workers/agent-main.ts'
import type { AnnouncedTarget, OwnTargets } from '../../workers/agent-targets.ts'
import type { IssuedCertificate } from '../../workers/db-certificates.ts'
import { Networks } from '../../workers/source.ts'
import { connectTo } from '../connect.ts'
import { splitAddress } from '../supervisor/listeners.ts'
import { VERSION } from '../version.ts'
import { Announcer } from './announcer.ts'
import { type RoleStart, runRole, type RunningRole } from './bootstrap.ts'
import { startDiagnostics } from './diagnostics.ts'
import { hostCas } from './identity.ts'
import { leaseControl } from './leases.ts'
import { Member } from './member.ts'
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

runRole('agent', begin)

async function begin(start: RoleStart): Promise<RunningRole> {
  const config = loadConfig(start.config, start.configFile)
  const log = roleLogger('agent', start.config, start.configFile)
  let known: readonly string[] = [proxyAddress(config)]
  const member = await Member.open({
    folder: roleFolder(config, 'agent'),
    connect: connectTo(() => known),
    pins: start.local?.pins ?? pins(config),
    join: {
      role: 'agent',
      token: start.local?.token ?? joinToken(config),
      hostname: hostname(config),
      services: ['db'],
    },
    log,
  })
  known = [...new Set([...known, ...member.identity.proxies])]
  const agent = makeAgent(config, member, known, log)
  member.onRenewed(({ certificate, key }) => agent.replaceHost({ certificate, key }))
  await agent.start()
  const diagnostics = await startDiagnostics(start.listeners, {
    role: 'agent',
    ready: () => agent.ready,
    gauges: () => ({
      ...agent.ledger.counts(),
      sessions: agent.sessions,
      linked_proxies: agent.linkedProxies,
      audit_spool: member.spool.pending,
      recordings_at_risk: member.recordings.atRisk,
    }),
  })
  return {
    addresses: diagnostics.addresses,
    reload: (text) => agent.replaceTargets(ownTargets(loadConfig(text, start.configFile), known)),
    async drain() {
      await agent.drain(drainMs(config))
      diagnostics.close()
      await member.close()
    },
  }
}

function makeAgent(
  config: ConfigFile,
  member: Member,
  proxies: readonly string[],
  log: Logger,
): Agent {
  const { id, cluster, certificate, key } = member.identity
  return new Agent({
    agentId: id,
    cluster,
    hostname: hostname(config),
    version: VERSION,
    threads: config.db_service.worker_threads ?? Math.max(1, os.availableParallelism() - 1),
    own: ownTargets(config, proxies),
    host: { certificate, key },
    hostCas: hostCas(member.identity),
    proxies,
    control: controlOf(member, config),
    saved: member.savedTrust(),
    save: (saved) => member.saveTrust(saved),
    anchor: member.anchor(),
    audit: (name, code, fields) => member.audit(name, code, fields),
    statements: member.spool,
    recordings: member.recordings,
    clock: systemClock,
    log,
  })
}

/** Where the public port is: named, or on this machine. */
function proxyAddress(config: ConfigFile): string {
  return config.sluice.proxy_server ?? publicAddress(config)
}

function controlOf(member: Member, config: ConfigFile): AgentControl {
  const { client } = member
  const descriptions = new Map(
    config.db_service.databases.map(({ name, description }) => [name, description]),
  )
  const announcer = new Announcer(client, descriptions, systemClock)
  return {
    announce: (word) => {
      const held = { ...word.held, recordingsAtRisk: member.recordings.atRisk }
      return announcer.announce({ ...word, held })
    },
    dbClient: (target, principal, userCertificate) =>
      issueDbClient(member, target, principal, userCertificate),
    ...leaseControl(client),
  }
}

async function issueDbClient(
  member: Member,
  target: TargetRef,
  principal: string,
  userCertificate: Uint8Array,
): Promise<IssuedCertificate> {
  const { privateKey, signer } = generateKey('ecdsa-p256')
  const { certificate, expiresAtMs, stored } = await member.client.call('certificate-db-client', {
    target: target.name,
    principal,
    userCertificate: writePem('CERTIFICATE', userCertificate),
    publicKey: Buffer.from(signer.spki).toString('base64'),
  })
  return {
    certificate,
    expiresAtMs,
    ...(stored === undefined ? {} : { stored }),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
  }
}

/** The databases of the file, the resources it would serve, and what those may not name. */
function ownTargets(config: ConfigFile, proxies: readonly string[]): OwnTargets {
  const { databases, resources, resources_may_dial: allowed } = config.db_service
  // Said at the start, not at the first dial.
  new Networks(allowed)
  return {
    targets: databases.map(announced),
    selectors: resources.map(({ labels }) => labels),
    guard: { allowed, ownPorts: ownPorts(config), ownAddresses: proxies },
  }
}

function announced(database: DatabaseConfig): AnnouncedTarget {
  const { host, port } = splitAddress(database.uri)
  const caFile = database.tls?.ca_cert_file ?? database.ca_cert_file
  return {
    ref: { kind: 'db', name: database.name },
    protocol: database.protocol,
    labels: database.static_labels,
    host,
    port,
    tls: {
      mode: database.tls?.mode ?? 'verify-full',
      serverName: database.tls?.server_name ?? host,
      trustSystemRoots: database.tls?.trust_system_cert_pool ?? false,
      ...(caFile === undefined ? {} : { ca: readFileSync(caFile, 'utf8') }),
    },
  }
}
