// Both ends of an SSH connection of ours over a pair of streams in memory, with certificates made for the test. Tests change what
// they are about; everything else is the case that works.

import { generateKeyPairSync, randomBytes, type KeyObject } from 'node:crypto'

import { FakeTimers } from '../../../workers/timers.ts'
import { streamPair } from '../../../test/fake/stream.ts'
import { buildSshCertificate, type SshCertificateFields } from '../../../core/cert/ssh.ts'
import { publicBlob, signBlob } from '../../../core/ssh/key.ts'
import type { ByteStream } from '../../../core/stream.ts'
import { acceptSsh, type Accepted, type AcceptOptions, type ProvenLogin } from './accept.ts'
import { connectSsh, type Connected, type ConnectOptions } from './connect.ts'
import type { ChannelOpening, ConnectionHandlers } from './connection.ts'
import { certificateKey, hostVerifier, type HostKey } from './host-key.ts'
import type { SshTimers } from './transport.ts'

export const HOST = 'node1.example.com'

/** One key of each kind that certificates are made for here. */
export const KEYS: Readonly<Record<string, KeyObject>> = {
  ed25519: generateKeyPairSync('ed25519').privateKey,
  p256: generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey,
  p384: generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey,
  p521: generateKeyPairSync('ec', { namedCurve: 'P-521' }).privateKey,
  rsa: generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey,
}

export const USER_CA: KeyObject = generateKeyPairSync('ed25519').privateKey
export const HOST_CA: KeyObject = generateKeyPairSync('ed25519').privateKey

export function keyOf(name: string): KeyObject {
  const key = KEYS[name]
  if (key === undefined) throw new Error(`no key ${name}`)
  return key
}

/** A certificate for `key`; by default the user alice's, valid for an hour around now. */
export function certificate(
  key: KeyObject,
  change: Partial<SshCertificateFields> = {},
  ca: KeyObject = change.kind === 'host' ? HOST_CA : USER_CA,
): Uint8Array {
  const seconds = BigInt(Math.floor(Date.now() / 1000))
  const fields: SshCertificateFields = {
    key: publicBlob(key),
    serial: 7n,
    kind: 'user',
    keyId: 'alice@example.com',
    principals: change.kind === 'host' ? [HOST, '127.0.0.1'] : ['alice'],
    validAfter: seconds - 60n,
    validBefore: seconds + 3600n,
    critical: {},
    extensions: { 'permit-pty': '' },
    ...change,
  }
  const signer = { blob: publicBlob(ca), sign: (bytes: Uint8Array) => signBlob(ca, bytes) }
  return buildSshCertificate(signer, fields, randomBytes(32))
}

export function userKey(name = 'ed25519'): HostKey {
  return certificateKey(certificate(keyOf(name)), keyOf(name))
}

export function hostKey(name = 'ed25519'): HostKey {
  return certificateKey(certificate(keyOf(name), { kind: 'host' }), keyOf(name))
}

export interface PairChange {
  readonly accept?: Partial<AcceptOptions<ProvenLogin>>
  readonly connect?: Partial<ConnectOptions>
  readonly timers?: FakeTimers
  readonly streams?: readonly [ByteStream, ByteStream]
}

export interface Pair {
  readonly timers: FakeTimers
  readonly server: Promise<Accepted<ProvenLogin>>
  readonly client: Promise<Connected>
}

/** Starts both ends. Both promises are watched: one that rejects while the test looks at the other is no stray. */
export function startPair(change: PairChange = {}): Pair {
  const timers = change.timers ?? new FakeTimers()
  const [near, far] = change.streams ?? streamPair()
  const server = startServer(far, timers, change.accept)
  const client = connectSsh({
    stream: near,
    timers,
    user: 'alice',
    key: userKey(),
    verifyHost: hostVerifier([publicBlob(HOST_CA)], HOST, Date.now),
    ...change.connect,
  })
  for (const end of [server, client] as Promise<unknown>[]) end.catch(() => undefined)
  return { timers, server, client }
}

/** The server's end alone: whoever proves to hold a certificate is let in. */
export function startServer(
  stream: ByteStream,
  timers: SshTimers,
  change: Partial<AcceptOptions<ProvenLogin>> = {},
): Promise<Accepted<ProvenLogin>> {
  return acceptSsh<ProvenLogin>({
    stream,
    timers,
    hostKeys: [hostKey()],
    authorize: (login) => Promise.resolve(login),
    serve: () => ({}),
    ...change,
  })
}

/** Handlers that take what is opened in the order it comes. */
export class Openings implements ConnectionHandlers {
  #kept: ChannelOpening[] = []
  #wanted: ((opening: ChannelOpening) => void)[] = []

  readonly open = (opening: ChannelOpening): void => {
    const wanted = this.#wanted.shift()
    if (wanted === undefined) this.#kept.push(opening)
    else wanted(opening)
  }

  next(): Promise<ChannelOpening> {
    const kept = this.#kept.shift()
    if (kept !== undefined) return Promise.resolve(kept)
    return new Promise((resolve) => this.#wanted.push(resolve))
  }
}
