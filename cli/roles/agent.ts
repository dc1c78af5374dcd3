// The agent's process: joins through the proxy's public port, announces its databases and its own machine, links to every proxy, serves
// sessions.

import { readFileSync } from 'node:fs'
import os from 'node:os'

import { type ConfigFile, type DatabaseConfig, loadConfig } from '../../control/config.ts'
import type { AnnouncedTarget } from '../../core/agent-target.ts'
import { generateKey } from '../../core/cert/key.ts'
import { writePem } from '../../core/cert/pem.ts'
import { systemClock } from '../../core/clock.ts'
import type { TargetRef } from '../../core/identity.ts'
import type { Logger } from '../../core/log.ts'
import { Agent, type AgentControl } from '../../workers/agent-main.ts'
import type { OwnTargets } from '../../workers/agent-targets.ts'
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
import { announcedNode } from './node.ts'
import { NodeParts } from './node-parts.ts'
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
  let config = loadConfig(start.config, start.configFile)
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
      services: services(config),
    },
    log,
  })
  known = [...new Set([...known, ...member.identity.proxies])]
  const node = new NodeParts({ config, member, log, onKeys: (keys) => agent.replaceSshHost(keys) })
  const own = (text: ConfigFile): OwnTargets => ownTargets(text, known, node.labels)
  const agent = makeAgent({ config, member, known, node, log }, own(config))
  member.onRenewed(({ certificate, key }) => agent.replaceHost({ certificate, key }))
  node.onLabels(() => agent.replaceTargets(own(config)))
  await node.start()
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
    async reload(text) {
      config = loadConfig(text, start.configFile)
      await agent.replaceTargets(own(config))
    },
    async drain() {
      await agent.drain(drainMs(config))
      node.stop()
      diagnostics.close()
      await member.close()
    },
  }
}

interface AgentParts {
  readonly config: ConfigFile
  readonly member: Member
  readonly known: readonly string[]
  readonly node: NodeParts
  readonly log: Logger
}

function makeAgent({ config, member, known, node, log }: AgentParts, own: OwnTargets): Agent {
  const { id, cluster, certificate, key } = member.identity
  return new Agent({
    agentId: id,
    cluster,
    hostname: hostname(config),
    version: VERSION,
    threads: threadsOf(config),
    own,
    host: { certificate, key },
    ...node.agentOptions(proxyAddress(config)),
    hostCas: hostCas(member.identity),
    proxies: known,
    control: controlOf(member, config, node),
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

/** One pool serves both: the service that asks for more has it. */
function threadsOf({ db_service: db, ssh_service: ssh }: ConfigFile): number {
  const asked = [db, ssh].flatMap(({ enabled, worker_threads: each }) =>
    enabled ? (each ?? []) : [],
  )
  return asked.length > 0 ? Math.max(...asked) : Math.max(1, os.availableParallelism() - 1)
}

function services({ db_service: db, ssh_service: ssh }: ConfigFile): readonly string[] {
  return [...(db.enabled ? ['db'] : []), ...(ssh.enabled ? ['node'] : [])]
}

function controlOf(member: Member, config: ConfigFile, node: NodeParts): AgentControl {
  const { client } = member
  const descriptions = new Map(
    config.db_service.databases.map(({ name, description }) => [name, description]),
  )
  const announcer = new Announcer(client, descriptions, systemClock)
  return {
    async announce(word) {
      const held = { ...word.held, recordingsAtRisk: member.recordings.atRisk }
      const announcement = await announcer.announce({ ...word, held })
      node.served(announcement)
      return announcement
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

/** The databases of the file, the resources it would serve, what those may not name, and the machine itself. */
function ownTargets(
  config: ConfigFile,
  proxies: readonly string[],
  labels: Readonly<Record<string, string>>,
): OwnTargets {
  const { enabled, databases, resources, resources_may_dial: allowed } = config.db_service
  // Said at the start, not at the first dial.
  new Networks(allowed)
  return {
    targets: [...(enabled ? databases.map(announced) : []), ...announcedNode(config, labels)],
    selectors: enabled ? resources.map(({ labels: wanted }) => wanted) : [],
    guard: { section: 'db_service', allowed, ownPorts: ownPorts(config), ownAddresses: proxies },
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
