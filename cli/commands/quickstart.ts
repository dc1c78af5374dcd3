// `sluice quickstart`: control, proxy and agent on this machine, a PostgreSQL behind them, this machine as a node, a first user, one
// query and one command through all of it, and the commands to go on with. Ctrl-C ends everything it started.

import { chmodSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import net from 'node:net'
import os from 'node:os'
import path from 'node:path'

import {
  connectControl,
  type ControlClient,
  connectLocalControl,
} from '../../control/api/client.ts'
import { loadConfig } from '../../control/config.ts'
import { readPem } from '../../core/cert/pem.ts'
import { Input } from '../command.ts'
import { CommandError, ProgramEnded } from '../exit.ts'
import { connectTo } from '../connect.ts'
import { createLogger } from '../logger.ts'
import { writeService } from '../pg-service.ts'
import type { Postgres } from '../postgres-server.ts'
import { PostgresClient, type QueryResult } from '../postgres-client.ts'
import { type Profile, ProfileStore, writeWhole } from '../profile.ts'
import { colour, table } from '../render.ts'
import { adminSocket, logOptions } from '../roles/settings.ts'
import { splitAddress } from '../supervisor/listeners.ts'
import type { Supervisor } from '../supervisor/supervisor.ts'
import { DEMO, startDatabase } from '../quickstart/database.ts'
import {
  createPerson,
  type LoggedIn,
  logIn,
  logInToDatabase,
  type Person,
} from '../quickstart/person.ts'
import { serviceSettings, waysOf } from '../service-settings.ts'
import { keepSshLogin } from '../ssh/keep.ts'
import { realTools, type Tools } from '../tools.ts'
import { ssh } from '../tsh/ssh.ts'
import { supervise } from './start.ts'

const SERVICE = 'quickstart'
const USER = 'admin'
/** Whoever runs this may be on this machine whom they are already. */
const LOGIN = os.userInfo().username
const FIRST = {
  user: USER,
  roles: ['access', 'editor', 'auditor'],
  traits: { logins: [LOGIN], db_users: [DEMO.user], db_names: [DEMO.database] },
}
const READY_MS = 60_000

export interface QuickstartOptions {
  readonly once?: true
  readonly dataDir?: string
  readonly port?: string
  readonly database?: string
}

export async function quickstart(options: QuickstartOptions): Promise<void> {
  const folder = options.dataDir === undefined ? temporaryFolder() : path.resolve(options.dataDir)
  mkdirSync(folder, { recursive: true })
  const running: { supervisor?: Supervisor; database?: Postgres } = {}
  const stop = async (): Promise<void> => {
    await running.supervisor?.stop()
    await running.database?.stop()
    if (options.dataDir === undefined) rmSync(folder, { recursive: true, force: true })
  }
  const ended = untilSignal()
  try {
    const rows = run(folder, options, running)
    const outcome = await Promise.race([rows, ended])
    if (outcome === 'signal' || options.once === true) return
    await ended
  } finally {
    step('Stopping.')
    await stop()
  }
}

async function run(
  folder: string,
  options: QuickstartOptions,
  running: { supervisor?: Supervisor; database?: Postgres },
): Promise<void> {
  const port = await publicPort(options.port)
  const databasePort = options.database === undefined ? await freePort() : 0
  const uri = options.database ?? `localhost:${databasePort}`
  const text = configText(folder, port, await freePort(), uri)
  const configFile = path.join(folder, 'sluice.yaml')
  const config = loadConfig(text, configFile)
  // For tctl, which finds control's socket by it.
  writeWhole(configFile, text)
  step(
    'CA keys lie in clear in this folder, which is right for a trial only (insecure_keys).',
    folder,
  )
  step('Starting control, proxy and agent …')
  const log = createLogger({ ...logOptions(config, 'supervisor') })
  running.supervisor = supervise(config, text, configFile, log)
  await running.supervisor.start()
  const admin = connectLocalControl(adminSocket(config))
  const status = await admin.call('status', {})
  if (options.database === undefined) {
    step('Starting PostgreSQL, which lets in certificates of this cluster only …')
    running.database = await startDatabase(
      admin,
      SERVICE,
      path.join(folder, 'postgres'),
      databasePort,
    )
  }
  const proxy = `127.0.0.1:${port}`
  const anonymous = connectControl({
    connect: connectTo(() => [proxy]),
    trust: { pins: status.pins },
  })
  step(`Creating user ${USER}, completing the invite, logging in through ${proxy} …`)
  const person = await createPerson(admin, anonymous, FIRST)
  const login = await logIn(anonymous, person)
  const tools = { ...realTools(), profiles: new ProfileStore(path.join(folder, 'tsh')) }
  const profile = await writeProfile(tools, proxy, login)
  const client = clientOf(proxy, login)
  step(`Waiting for the agent to offer the database and the node "${SERVICE}" …`)
  await untilOnline(client)
  const result = await firstQuery(folder, profile, client)
  process.stdout.write(
    `\n${table(
      result.columns,
      result.rows.map((row) => row.map((cell) => cell ?? '')),
    )}\n`,
  )
  await firstCommand(tools)
  if (options.once !== true) process.stdout.write(goOn(folder, proxy, person, status.pins[0] ?? ''))
  for (const each of [admin, anonymous, client]) each.close()
}

/** What a user would type for this machine. An account without a shell says so itself, and the rest stays up. */
async function firstCommand(tools: Tools): Promise<void> {
  step(`Running a command on the node: tsh ssh ${LOGIN}@${SERVICE} id`)
  try {
    await ssh.run(new Input([`${LOGIN}@${SERVICE}`, 'id']), tools)
  } catch (error) {
    if (!(error instanceof ProgramEnded)) throw error
    step(`It ended with status ${error.status}.`)
  }
}

/** The query a user would type, through proxy and agent, with what is on disk for psql as well. */
async function firstQuery(
  folder: string,
  profile: Profile,
  client: ControlClient,
): Promise<QueryResult> {
  const store = new ProfileStore(path.join(folder, 'tsh'))
  const { reply, pair } = await logInToDatabase(client, SERVICE)
  const files = store.databaseFiles(profile, SERVICE, reply.mode)
  store.put(files.certificate, pair.certificate)
  store.put(files.key, pair.key)
  store.put(files.cas, reply.serverCas.join(''))
  const names = { user: DEMO.user, database: DEMO.database }
  const settings = serviceSettings(waysOf(reply), files, names)
  writeService(path.join(folder, 'pg_service.conf'), SERVICE, settings)
  const sql = 'SELECT id, name, colour FROM fruit ORDER BY id'
  step(`Asking through proxy and agent: ${sql}`)
  const postgres = await PostgresClient.connect({
    addresses: reply.proxies.map(splitAddress),
    serverName: reply.serverName,
    ca: reply.serverCas,
    certificate: pair.certificate,
    key: pair.key,
    ...names,
  })
  try {
    const [result] = await postgres.query(sql)
    if (result === undefined) throw new CommandError('the query returned nothing')
    return result
  } finally {
    postgres.close()
  }
}

async function writeProfile(
  tools: Tools,
  proxy: string,
  { reply, pair, sshKey }: LoggedIn,
): Promise<Profile> {
  const store = tools.profiles
  const { cluster, cas, proxies } = reply
  const profile: Profile = { proxy, user: USER, cluster, pins: cas.pins, proxies }
  const files = store.loginFiles(profile)
  store.put(files.key, pair.key)
  store.put(files.certificate, pair.certificate)
  store.put(files.cas, cas.host.join(''))
  await store.write(profile)
  // Not into the person's ssh-agent: it outlives the trial.
  await keepSshLogin(tools, profile, sshKey, reply.ssh, 'no')
  return profile
}

function clientOf(proxy: string, { reply, pair }: LoggedIn): ControlClient {
  const cas = reply.cas.host.flatMap((pem) => readPem('CERTIFICATE', pem))
  return connectControl({
    connect: connectTo(() => [proxy]),
    trust: { cas, cluster: reply.cluster },
    identity: pair,
  })
}

async function untilOnline(client: ControlClient): Promise<void> {
  const endMs = performance.now() + READY_MS
  while (performance.now() < endMs) {
    const [databases, nodes] = await Promise.all([
      client.call('databases', {}),
      client.call('nodes', {}),
    ])
    const online = [databases.items, nodes.items].every((items) =>
      items.some((item) => item.name === SERVICE && item.online),
    )
    if (online) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new CommandError(
    'the agent did not offer its database and its node within a minute',
    5,
    'Its log lines above say why.',
  )
}

function configText(folder: string, port: number, apiPort: number, uri: string): string {
  const loopback = (name: string): string => `  ${name}: 127.0.0.1:`
  return [
    'version: v3',
    'sluice:',
    `  data_dir: ${JSON.stringify(path.join(folder, 'data'))}`,
    '  nodename: quickstart',
    '  insecure_keys: yes',
    '  shutdown_delay: 1s',
    '  log: {severity: WARN}',
    'auth_service:',
    '  cluster_name: quickstart.test',
    `${loopback('listen_addr')}${apiPort}`,
    'proxy_service:',
    `${loopback('web_listen_addr')}${port}`,
    `${loopback('public_addr')}${port}`,
    'ssh_service:',
    '  enabled: yes',
    '  labels: {env: trial}',
    'db_service:',
    '  enabled: yes',
    // So that `tctl create` of a `db` on this machine works at once.
    "  resources: [{labels: {'*': '*'}}]",
    "  resources_may_dial: ['127.0.0.0/8', '::1']",
    '  databases:',
    `    - {name: ${SERVICE}, description: the quickstart’s own PostgreSQL, protocol: postgres, uri: ${JSON.stringify(uri)}, static_labels: {env: trial}}`,
    '',
  ].join('\n')
}

function goOn(folder: string, proxy: string, person: Person, pin: string): string {
  const env = `export SLUICE_HOME=${path.join(folder, 'tsh')} PGSERVICEFILE=${path.join(folder, 'pg_service.conf')} SLUICE_CONFIG_FILE=${path.join(folder, 'sluice.yaml')}`
  return [
    colour('bold', 'It works. Go on in another terminal, in this folder:'),
    '',
    `  ${env}`,
    `  npx tsh status`,
    `  npx tsh db ls`,
    `  npx tsh db exec ${SERVICE} "SELECT count(*) FROM fruit"`,
    `  psql service=${SERVICE}                 # plain psql, when it is installed`,
    `  npx tsh ls`,
    `  npx tsh ssh ${LOGIN}@${SERVICE}`,
    `  npx tsh config > $SLUICE_HOME/openssh; ssh -F $SLUICE_HOME/openssh ${LOGIN}@${SERVICE}.quickstart.test    # plain ssh, scp, sftp, rsync`,
    `  npx tsh recordings ls; npx tsh play SESSION-ID     # when a session has ended`,
    `  npx tctl users ls; npx tctl audit ls; npx tctl status`,
    '',
    'Log in as another machine would:',
    `  npx tsh login --proxy=${proxy} --user=${person.user} --ca-pin=${pin}`,
    `  password: ${person.password}     one-time code: ${person.otpUri}`,
    '',
    'Ctrl-C here ends all of it.',
    '',
  ].join('\n')
}

function step(text: string, detail?: string): void {
  process.stderr.write(
    `${colour('green', '▸', process.stderr)} ${text}${detail === undefined ? '' : ` (${detail})`}\n`,
  )
}

/** Not under the checkout: roles run under uids of their own, which may not be allowed in there. */
function temporaryFolder(): string {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sluice-quickstart-'))
  chmodSync(folder, 0o755)
  return folder
}

function untilSignal(): Promise<'signal'> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.once(signal, () => resolve('signal'))
  })
}

async function publicPort(wanted: string | undefined): Promise<number> {
  if (wanted !== undefined && wanted !== '0') return Number(wanted)
  if (wanted === '0') return await freePort()
  for (const port of [443, 3080]) if (await free(port)) return port
  return await freePort()
}

async function free(port: number): Promise<boolean> {
  return (await probe(port)) !== undefined
}

async function freePort(): Promise<number> {
  const port = await probe(0)
  if (port === undefined) throw new CommandError('no free port on 127.0.0.1')
  return port
}

function probe(port: number): Promise<number | undefined> {
  return new Promise((resolve) => {
    const server = net.createServer()
    server.once('error', () => resolve(undefined))
    server.listen(port, '127.0.0.1', () => {
      const address = server.address()
      server.close(() =>
        resolve(typeof address === 'object' && address !== null ? address.port : undefined),
      )
    })
  })
}
