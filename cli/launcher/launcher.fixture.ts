// A launcher with its agent's end, and everything a request needs: CAs, signed snapshots and locks, certificates, throw-away logins.
// Nothing outside tests may import this.

import assert from 'node:assert/strict'
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto'
import { chown } from 'node:fs/promises'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

import { signedMessage, type SnapshotType } from '../../core/cert/signed.ts'
import { buildSshCertificate, type SshCertificateFields } from '../../core/cert/ssh.ts'
import { IDENTITY_EXTENSION, identityText } from '../../core/cert/ssh-identity.ts'
import type { UserIdentity } from '../../core/identity.ts'
import { silentLogger } from '../../core/log.ts'
import type { Role } from '../../core/policy/role.ts'
import { encodeLocks, encodeSnapshot, type SignedMessage } from '../../core/snapshot-codec.ts'
import type { LockSet } from '../../core/snapshot.ts'
import type { Machine, Program, ProgramRequest } from '../../core/ssh/machine.ts'
import { publicBlob, signBlob } from '../../core/ssh/key.ts'
import type { ByteStream } from '../../core/stream.ts'
import { userIdentity } from '../../test/fixtures/certificates.ts'
import { atEnd, type Cleanup, openFolder } from '../../test/fixtures/files.ts'
import { type Program as Process, run, start } from '../../test/fixtures/processes.ts'
import { testSnapshot } from '../../test/fixtures/rights.ts'
import { readMessage, writeMessage } from '../../workers/framed.ts'
import {
  type LaunchAnswer,
  launchAnswer,
  type LaunchAsk,
  launchPaths,
} from '../../workers/launch-wire.ts'
import { dialLocal } from '../../workers/local-socket.ts'
import { LauncherClient } from '../../workers/launcher-client.ts'
import { LauncherFeed } from '../../workers/launcher-feed.ts'
import { DEFAULT_UIDS } from '../supervisor/plan.ts'
import { HYGIENE_FLAGS, readableRuntime } from '../supervisor/runtime.ts'

export const AGENT_UID: number = DEFAULT_UIDS.agent
export const AGENT_ID = '0f8fad5b-d9cb-469f-a165-70867728950e'
const HOUR_S = 3600n

export interface Ca {
  readonly key: KeyObject
  readonly blob: Uint8Array
}

export function newCa(): Ca {
  const { privateKey } = generateKeyPairSync('ed25519')
  return { key: privateKey, blob: publicBlob(privateKey) }
}

export interface CertificateWish extends Partial<SshCertificateFields> {
  readonly ca?: Ca
  readonly identity?: UserIdentity
}

const ROLE: Role = {
  name: 'ops',
  version: 'v7',
  options: { ssh: { forwardAgent: true, x11: true } },
  allow: { rules: [], node: { labels: { env: ['test'] }, logins: ['*'] } },
  deny: { rules: [] },
  unenforced: [],
}

const OPS: UserIdentity = userIdentity({ roles: ['ops'] })

/** Control as far as a launcher knows it. */
export class FakeControl {
  readonly ca: Ca = newCa()
  readonly #key = generateKeyPairSync('ed25519')
  #revision = 0

  get signers(): readonly string[] {
    return [this.#spki().toString('base64')]
  }

  /** The role everybody has, changed. */
  role(over: Partial<Role>): Role {
    return { ...ROLE, ...over }
  }

  snapshot(roles: readonly Role[] = [ROLE]): SignedMessage {
    this.#revision += 1
    const light = testSnapshot({ nowMs: Date.now() })
    const ssh = { user: [this.ca.blob], host: [], openssh: [] }
    const signers = [this.#spki()]
    return this.sign(
      'snapshot',
      encodeSnapshot({ ...light, revision: this.#revision, ssh, signers, roles }),
    )
  }

  locks(lockSet: Partial<LockSet> = {}): SignedMessage {
    this.#revision += 1
    const all = { revision: this.#revision, locks: [], generations: {}, ...lockSet }
    return this.sign('locks', encodeLocks(all))
  }

  sign(type: SnapshotType, body: Uint8Array): SignedMessage {
    return { type, body, signature: sign(null, signedMessage(type, body), this.#key.privateKey) }
  }

  certificate(login: string, wish: CertificateWish = {}): Uint8Array {
    const { ca = this.ca, identity = OPS, ...fields } = wish
    const now = BigInt(Math.floor(Date.now() / 1000))
    return buildSshCertificate(
      { blob: ca.blob, sign: (bytes) => signBlob(ca.key, bytes) },
      {
        key: newCa().blob,
        serial: 77n,
        kind: 'user',
        keyId: identity.name,
        principals: [login],
        validAfter: now - 60n,
        validBefore: now + HOUR_S,
        critical: {},
        extensions: { 'permit-pty': '', [IDENTITY_EXTENSION]: identityText(identity) },
        ...fields,
      },
      randomBytes(32),
    )
  }

  #spki(): Buffer {
    return this.#key.publicKey.export({ type: 'spki', format: 'der' })
  }
}

export interface Counts {
  readonly connections: number
  readonly programs: number
  readonly helpers: number
  readonly descriptors: number
}

export interface World {
  readonly control: FakeControl
  readonly feed: LauncherFeed
  readonly client: LauncherClient
  /** Folder of the sockets. */
  readonly folder: string
  readonly process: Process
  /** How often it was asked for its counts. */
  readonly asked: { count: number }
  ask(login: string, over?: Partial<LaunchAsk>): LaunchAsk
  /** A session of its own; ended with the test. */
  machine(login: string, over?: Partial<LaunchAsk>): Machine
  /** One request past the client, and its first answer. */
  request(request: object): Promise<LaunchAnswer>
  counts(): Promise<Counts>
  /** Pid of the process that holds terminals. */
  terminalsPid(): Promise<number>
}

/** A launcher that believes its control. `as`: a login that runs it, with its agent, in place of root. */
export async function startWorld(cleanup: Cleanup, as?: string): Promise<World> {
  return await startWorldIn(cleanup, await openFolder(cleanup), as)
}

/** In a folder that may hold what another launcher left. */
export async function startWorldIn(cleanup: Cleanup, root: string, as?: string): Promise<World> {
  const control = new FakeControl()
  const process_ = await startLauncher(cleanup, root, as)
  await process_.line(/^ready/)
  const folder = path.join(root, 'run')
  const feed = new LauncherFeed({
    folder,
    saved: { signers: control.signers, revision: 0, lockRevision: 0 },
    log: silentLogger,
  })
  feed.offer(control.locks())
  feed.offer(control.snapshot())
  feed.start()
  atEnd(cleanup, () => feed.stop())
  const world = worldOf(cleanup, { control, feed, folder, process: process_, asked: { count: 0 } })
  await heard(world, as ?? 'root')
  return world
}

/** The same launcher for another test, with whose end its sessions end. */
export function visit(world: World, cleanup: Cleanup): World {
  return worldOf(cleanup, world)
}

type Parts = Pick<World, 'control' | 'feed' | 'folder' | 'process' | 'asked'>

function worldOf(cleanup: Cleanup, parts: Parts): World {
  const { control, folder, process: process_, asked } = parts
  const client = new LauncherClient(folder)
  const ask = (login: string, over: Partial<LaunchAsk> = {}): LaunchAsk => ({
    certificate: control.certificate(login),
    login,
    client: { host: '192.0.2.7', port: 50_022 },
    server: { host: '192.0.2.1', port: 3022 },
    node: { name: 'web-1', agentId: AGENT_ID, labels: { env: 'test' } },
    sessionId: 'a-session',
    webProxy: 'proxy.test:443',
    ...over,
  })
  return {
    ...parts,
    client,
    ask,
    machine(login, over) {
      const machine = client.machine(ask(login, over))
      atEnd(cleanup, () => machine.end())
      return machine
    },
    async request(request) {
      const stream = await dialLocal(launchPaths(folder).launcher)
      await writeMessage(stream, request)
      const answer = await readMessage(stream, launchAnswer, 'launchOrderBytesMax')
      stream.abort(new Error('asked'))
      return answer ?? { kind: 'refused', reason: 'the connection ended' }
    },
    async terminalsPid() {
      const { stdout } = await run('/bin/ps', ['-o', 'pid=,args=', '--ppid', String(process_.pid)])
      const line = stdout.split('\n').find((each) => each.includes('terminals-main'))
      return Number.parseInt(line ?? '', 10)
    },
    async counts() {
      asked.count += 1
      process_.write('\n')
      const line = await process_.line(new RegExp(`^counts ${asked.count} `))
      return JSON.parse(line.slice(line.indexOf('{'))) as Counts
    },
  }
}

export async function startLauncher(cleanup: Cleanup, root: string, as?: string): Promise<Process> {
  const uid = as === undefined ? AGENT_UID : Number((await run('/usr/bin/id', ['-u', as])).stdout)
  const runtime = readableRuntime([uid])
  atEnd(cleanup, () => runtime.dispose())
  const main = fileURLToPath(new URL('./launcher.child.ts', import.meta.url))
  const ours = path.join(runtime.root, 'cli/launcher', path.basename(main))
  const given = JSON.stringify({ folder: root, agentUid: uid })
  const node = [runtime.node, ...HYGIENE_FLAGS, ours, given]
  if (as === undefined) return start(cleanup, runtime.node, node.slice(1))
  await chown(root, uid, uid)
  const ids = [`--reuid=${uid}`, `--regid=${uid}`, '--init-groups']
  return start(cleanup, '/usr/bin/setpriv', [...ids, ...node])
}

/** Waits until a request is not refused for want of a snapshot. */
async function heard(world: World, login: string): Promise<void> {
  for (;;) {
    const machine = world.client.machine(world.ask(login))
    try {
      const program = await machine.start(exec('exit 0'))
      await program.exit
      return
    } catch (error) {
      assert.match(String(error), /has not heard from control yet/)
      // The feed is on its way: a turn of the loop, not a pause.
      await new Promise((resolve) => setImmediate(resolve))
    } finally {
      machine.end()
    }
  }
}

export function exec(command: string, env: Readonly<Record<string, string>> = {}): ProgramRequest {
  return { program: { kind: 'exec', command: Buffer.from(command) }, env }
}

export interface Said {
  readonly out: string
  readonly err: string
  readonly exit: Awaited<Program['exit']>
}

/** Runs a command to its end. */
export async function say(machine: Machine, request: ProgramRequest, input = ''): Promise<Said> {
  const program = await machine.start(request)
  if (input !== '') await program.io.write(Buffer.from(input))
  if (request.pty === undefined) await program.io.end()
  const err = program.stderr === undefined ? Promise.resolve('') : readText(program.stderr)
  const [out, errors, exit] = await Promise.all([readText(program.io), err, program.exit])
  return { out, err: errors, exit }
}

export async function readText(stream: ByteStream): Promise<string> {
  const parts: Uint8Array[] = []
  for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read())
    parts.push(chunk)
  return Buffer.concat(parts).toString('utf8')
}

/** A login of its own with a home and two further groups; gone at the end. */
export async function throwawayLogin(
  cleanup: Cleanup,
  more: readonly string[] = [],
): Promise<string> {
  const name = `sluice-${randomBytes(4).toString('hex')}`
  const home = path.join(await openFolder(cleanup), 'home')
  const args = ['--create-home', '--home-dir', home, '--shell', '/bin/bash', '-G', 'games,users']
  const made = await run('/usr/sbin/useradd', [...args, ...more, name])
  assert.equal(made.code, 0, made.stderr)
  atEnd(cleanup, async () => void (await run('/usr/sbin/userdel', ['--force', name])))
  return name
}
