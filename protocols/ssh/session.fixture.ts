// One SSH session of ours over a pair of streams in memory, or on a socket, with everything its thread would give it. Tests change what
// they are about.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'

import type { SshCertificateFields } from '../../core/cert/ssh.ts'
import type { Authorized } from '../../core/login.ts'
import type { AuditFields, Host, Refusal, SshGrant } from '../../core/protocol.ts'
import type { SshServices, TerminalRecorder, TerminalStart } from '../../core/ssh/services.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import type { ByteStream } from '../../core/stream.ts'
import { streamPair } from '../../test/fake/stream.ts'
import { peer, right as someRight } from '../../test/scripts/people.ts'
import { FakeTimers } from '../../workers/timers.ts'
import { FakeMachine } from './machine.fixture.ts'
import { serveSsh } from './session.ts'
import type { ChannelRequest, WindowSize } from './transport/requests.ts'
import type { SshConnection } from './transport/connection.ts'
import { connectSsh, type Connected, type ConnectOptions } from './transport/connect.ts'
import type { SshChannel } from './transport/channel.ts'
import { certificateKey, hostVerifier } from './transport/host-key.ts'
import { certificate, HOST, HOST_CA, keyOf } from './transport/pair.fixture.ts'

export const NODE = { kind: 'node', name: 'web-1' } as const

export const ALL_ALLOWED: SshGrant = {
  forwardAgent: true,
  localForwarding: true,
  remoteForwarding: true,
  x11: true,
  fileCopy: true,
  sessionsMax: 0,
}

export const ALL_PERMITTED: Readonly<Record<string, string>> = {
  'permit-pty': '',
  'permit-agent-forwarding': '',
  'permit-port-forwarding': '',
  'permit-X11-forwarding': '',
}

export interface Told {
  readonly code: string
  readonly fields: AuditFields
}

/** Keeps what it is given, and is full when the test says so. */
export class FakeRecorder implements TerminalRecorder {
  readonly start: TerminalStart
  shown: Buffer = Buffer.alloc(0)
  readonly sizes: string[] = []
  sealed: string | undefined
  full = false
  #wake: (() => void)[] = []

  constructor(start: TerminalStart) {
    this.start = start
  }

  print(bytes: Uint8Array): void {
    this.shown = Buffer.concat([this.shown, bytes])
  }

  resize(columns: number, rows: number): void {
    this.sizes.push(`${columns}x${rows}`)
  }

  ready(): Promise<void> {
    return new Promise((resolve) => this.#wake.push(resolve))
  }

  drain(): void {
    this.full = false
    for (const resolve of this.#wake.splice(0)) resolve()
  }

  seal(reason: string): Promise<void> {
    this.sealed = reason
    return Promise.resolve()
  }
}

export interface SessionChange {
  readonly grant?: Partial<SshGrant>
  readonly host?: Partial<Host>
  readonly ssh?: Partial<SshServices>
}

export interface Serving {
  readonly machine: FakeMachine
  readonly told: Told[]
  readonly recorders: FakeRecorder[]
  readonly controller: AbortController
  readonly over: Promise<void>
  readonly timers: FakeTimers
  readonly codes: () => string[]
}

export function rightWith(grant: Partial<SshGrant> = {}, principal = 'alice'): Authorized {
  const ssh = { ...ALL_ALLOWED, ...grant }
  return Object.freeze({
    ...peer,
    decisionId: someRight.decisionId,
    access: { target: NODE, principal, resource: '' },
    grant: { ...someRight.grant, ssh },
  }) as unknown as Authorized
}

/** Serves one stream. */
export function serveOn(stream: ByteStream, change: SessionChange = {}): Serving {
  const machine = new FakeMachine()
  const told: Told[] = []
  const recorders: FakeRecorder[] = []
  const timers = new FakeTimers()
  const right = rightWith(change.grant)
  const key = keyOf('ed25519')
  const ssh: SshServices = {
    timers,
    environment: { SSH_CONNECTION: '192.0.2.1 1 192.0.2.2 22' },
    auditRoom: () => undefined,
    hostKeys: [{ certificate: certificate(key, { kind: 'host' }), key }],
    reach: () => Promise.resolve({ kind: 'machine', machine }),
    record: (_right, start) => {
      const recorder = new FakeRecorder(start)
      recorders.push(recorder)
      return recorder
    },
    ...change.ssh,
  }
  const host: Host = {
    nowMs: Date.now,
    identify: () => Promise.resolve(peer),
    authorize: () => Promise.resolve(right),
    dial: () => Promise.reject(new Error('SSH reaches, it does not dial')),
    upgradeTls: () => Promise.reject(new Error('no TLS here')),
    tap: () => {
      throw new Error('no tap here')
    },
    audit: (code, fields) => void told.push({ code, fields }),
    active: () => undefined,
    ssh,
    ...change.host,
  }
  const controller = new AbortController()
  const over = serveSsh(stream, { stage: '', target: NODE }, host, controller.signal)
  const codes = (): string[] => told.map(({ code }) => code)
  return { machine, told, recorders, controller, over, timers, codes }
}

/** A user's key with a certificate that permits everything. */
export function clientKey(
  fields: Partial<SshCertificateFields> = {},
): ReturnType<typeof certificateKey> {
  const key = keyOf('p256')
  return certificateKey(certificate(key, { extensions: ALL_PERMITTED, ...fields }), key)
}

export interface Client {
  readonly connected: Promise<Connected>
  /** What was shown before the login. */
  readonly banner: () => string
}

/** Our own client on the other end. */
export function clientOn(stream: ByteStream, change: Partial<ConnectOptions> = {}): Client {
  let banner = ''
  const connected = connectSsh({
    stream,
    timers: new FakeTimers(),
    user: 'alice',
    key: clientKey(),
    verifyHost: hostVerifier([publicBlob(HOST_CA)], HOST, Date.now),
    onBanner: (text) => {
      banner += text
    },
    ...change,
  })
  connected.catch(() => undefined)
  return { connected, banner: () => banner }
}

/** Both ends. */
export function session(
  change: SessionChange = {},
  connect: Partial<ConnectOptions> = {},
): Serving & Client {
  const [near, far] = streamPair()
  return { ...serveOn(far, change), ...clientOn(near, connect) }
}

export const LOCKED: Refusal = {
  decisionId: '01JLOCK',
  kind: 'lock',
  reason: 'user alice is locked',
  next: 'Ask an administrator.',
}

/** Everything a channel says until its end: `[output, stderr]`. */
export async function outputOf(channel: SshChannel): Promise<[string, string]> {
  const said: [string, string] = ['', '']
  for (let data = await channel.read(); data !== undefined; data = await channel.read())
    said[data.stderr ? 1 : 0] += Buffer.from(data.bytes).toString('latin1')
  return said
}

export async function readAll(stream: ByteStream): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for (let chunk = await stream.read(); chunk !== undefined; chunk = await stream.read())
    chunks.push(chunk)
  return Buffer.concat(chunks)
}

/** Bytes that no compression or reading makes sense of. */
export function noise(bytes: number): Buffer {
  return randomBytes(bytes)
}

export const SIZE: WindowSize = { columns: 80, rows: 24, width: 0, height: 0 }
export const PTY: Extract<ChannelRequest, { kind: 'pty' }> = {
  kind: 'pty',
  term: 'xterm',
  size: SIZE,
  modes: Uint8Array.of(0),
}

export async function openSession(client: Client): Promise<{
  readonly connection: SshConnection
  readonly channel: SshChannel
}> {
  const { connection } = await client.connected
  return { connection, channel: await connection.open({ kind: 'session' }) }
}

export function exec(command: string): { kind: 'exec'; command: Uint8Array } {
  return { kind: 'exec', command: Buffer.from(command) }
}

/** The fields of the one event of this code. */
export function told(serving: Serving, code: string): Readonly<Record<string, unknown>> {
  const found = serving.told.filter((each) => each.code === code)
  assert.equal(found.length, 1, `${code} among ${serving.codes().join()}`)
  return found[0]?.fields ?? {}
}

/** Enough for bytes to pass that may. */
export async function turns(): Promise<void> {
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve))
}

export async function ended(serving: Serving & Client): Promise<void> {
  ;(await serving.connected).connection.end()
  await serving.over
}
