// The door to ssh2 1.17.0, of which we take the transport layer alone: identification, packets, ciphers and the classic key exchanges
// (RFC 4253). Authentication and channels are ours. Its private names are typed here and looked for when this file is loaded:
// another version, or one that was loaded by somebody else before, is refused. Nothing else may import ssh2.

import { verify } from 'node:crypto'
import { createRequire } from 'node:module'

import { isSshCertificate, readSshCertificate } from '../../../core/cert/ssh.ts'
import { ProxyError } from '../../../core/errors.ts'
import { string } from '../../../core/ssh/bytes.ts'
import { readPublicBlob } from '../../../core/ssh/key.ts'
import { GcmOpener, GcmSealer, isGcm } from './gcm.ts'

const VERSION = '1.17.0'

/** One key exchange. `negotiated.serverHostKey` is read by its methods, so changing it changes what they expect. */
export interface Ssh2Exchange {
  readonly negotiated: {
    kex: string
    serverHostKey: string
    readonly cs: { readonly cipher: string }
    readonly sc: { readonly cipher: string }
  }
  readonly sessionID: Buffer
  readonly _hostKey: Buffer | undefined
  readonly _step: number
  _remoteKexinit: Buffer
  remoteExtInfoEnabled: boolean
  parse(payload: Buffer): unknown
  finish(partial?: boolean): unknown
  generateKeys(): void
  getPublicKey(): Buffer
  convertPublicKey(key: Buffer): Buffer
  /** An error is returned, not thrown. */
  computeSecret(share: Buffer): Buffer | Error
}

export interface Ssh2Offer {
  readonly lists: { readonly kex: { readonly array: readonly string[] } }
}

export interface Ssh2Protocol {
  start(): void
  parse(chunk: Uint8Array, from: number, to: number): void
  rekey(): void
  cleanup(): void
  /** Set while a key exchange goes on. */
  readonly _kexinit: Buffer | undefined
  /** Packets that wait for its end. */
  readonly _queue: readonly Buffer[] | undefined
  readonly _strictMode: boolean | undefined
  readonly _packetRW: {
    readonly write: {
      readonly allocStart: number
      /** The same for packets that go out while keys are changed. */
      readonly allocStartKEX: number
      alloc(bytes: number, force?: boolean): Buffer
      finalize(packet: Buffer, force?: boolean): Buffer
    }
  }
  _kex: Ssh2Exchange | undefined
  _offer: Ssh2Offer
  _decipher: { _onPayload: (payload: Buffer) => unknown; readonly inSeqno: number } | undefined
  _onPayload: (payload: Buffer) => unknown
  _skipNextInboundPacket: boolean
}

/** What a server's key must do for ssh2. `type` is no name it knows, so that it never reshapes the signature. */
export interface Ssh2HostKey {
  readonly type: 'ours'
  getPublicSSH(): Buffer
  /** The bytes inside the signature blob. */
  sign(data: Buffer): Buffer
}

export interface Ssh2Config {
  readonly server: boolean
  readonly ident: string
  readonly hostKeys?: Readonly<Record<string, Ssh2HostKey>>
  /** False refuses. Anything but a boolean would mean "later" or "yes". */
  readonly hostVerifier?: (blob: Buffer) => boolean
  readonly offer: unknown
  readonly onWrite: (bytes: Buffer) => void
  readonly onError: (error: Error) => void
  readonly onHeader: () => void
  readonly onHandshakeComplete: () => void
}

type Method = (...args: never[]) => unknown

interface Parts {
  readonly Protocol: new (config: Ssh2Config) => Ssh2Protocol
  readonly KexInit: new (lists: object) => object
  readonly handleKexInit: (protocol: Ssh2Protocol, payload: Buffer) => unknown
  /** `bypass`: it does not wait for the end of a key exchange. */
  readonly sendPacket: (protocol: Ssh2Protocol, packet: Buffer, bypass?: boolean) => boolean
}

export const ssh2: Parts = load()

function load(): Parts {
  const require = createRequire(import.meta.url)
  const { version } = require('ssh2/package.json') as { version: string }
  if (version !== VERSION) throw unfit(`version ${version} is not ${VERSION}`)
  if (Object.hasOwn(require.cache, require.resolve('ssh2/lib/protocol/kex.js')))
    throw unfit('something else has loaded it')
  // kex.js takes this function when it is loaded: from here on every host key is read by core/ssh/key.ts.
  const keys = require('ssh2/lib/protocol/keyParser.js') as Record<string, unknown>
  found('parseDERKey', keys['parseDERKey'])
  keys['parseDERKey'] = hostKeyOf
  // So does it with the ciphers: AES-GCM is ours, the counter modes are ssh2's.
  const ciphers = require('ssh2/lib/protocol/crypto.js') as Ciphers
  const createCipher = found('createCipher', ciphers.createCipher)
  const createDecipher = found('createDecipher', ciphers.createDecipher)
  ciphers.createCipher = (config) => sealerOf(config.outbound) ?? createCipher(config)
  ciphers.createDecipher = (config) => openerOf(config.inbound) ?? createDecipher(config)
  const Protocol = require('ssh2/lib/protocol/Protocol.js') as Parts['Protocol']
  const kex = require('ssh2/lib/protocol/kex.js') as {
    KexInit: Parts['KexInit']
    HANDLERS: Record<number, Parts['handleKexInit']>
  }
  const utils = require('ssh2/lib/protocol/utils.js') as Pick<Parts, 'sendPacket'>
  for (const name of ['parse', 'rekey', 'cleanup'])
    found(name, (Protocol.prototype as Record<string, Method>)[name])
  return {
    Protocol,
    KexInit: found('KexInit', kex.KexInit),
    handleKexInit: found('HANDLERS', kex.HANDLERS[20]),
    sendPacket: found('sendPacket', utils.sendPacket),
  }
}

interface Ciphers {
  createCipher: (config: { readonly outbound: Outbound }) => object
  createDecipher: (config: { readonly inbound: Inbound }) => object
}

interface CipherInfo {
  readonly sslName: string
}

interface Outbound {
  readonly onWrite: (bytes: Buffer) => void
  readonly seqno: number
  readonly cipherInfo: CipherInfo
  readonly cipherKey: Buffer
  readonly cipherIV: Buffer
}

interface Inbound {
  readonly onPayload: (payload: Buffer) => unknown
  readonly seqno: number
  readonly decipherInfo: CipherInfo
  readonly decipherKey: Buffer
  readonly decipherIV: Buffer
}

function sealerOf(outbound: Outbound): GcmSealer | undefined {
  const { onWrite, seqno, cipherKey, cipherIV, cipherInfo } = outbound
  const name = cipherInfo.sslName
  if (!isGcm(name)) return undefined
  return new GcmSealer({ name, key: cipherKey, iv: cipherIV, sequence: seqno }, onWrite)
}

function openerOf(inbound: Inbound): GcmOpener | undefined {
  const { onPayload, seqno, decipherKey, decipherIV, decipherInfo } = inbound
  const name = decipherInfo.sslName
  if (!isGcm(name)) return undefined
  return new GcmOpener({ name, key: decipherKey, iv: decipherIV, sequence: seqno }, onPayload)
}

/** What ssh2 asks to verify a host's signature: the key of a plain blob or inside a certificate. An error is returned, not thrown. */
function hostKeyOf(rest: Uint8Array, type: string): object {
  try {
    const blob = Buffer.concat([string(type), rest])
    const key = readPublicBlob(isSshCertificate(blob) ? readSshCertificate(blob).key : blob)
    // ECDSA signatures come as DER from ssh2, whose hash is named by the curve.
    const digest = CURVE_DIGESTS[key.asymmetricKeyDetails?.namedCurve ?? '']
    return {
      verify: (data: Uint8Array, signature: Uint8Array, hash: string | undefined): boolean =>
        verify(hash ?? digest ?? null, data, key, signature),
    }
  } catch (error) {
    return error instanceof Error ? error : unfit('a host key could not be read')
  }
}

const CURVE_DIGESTS: Readonly<Record<string, string>> = {
  prime256v1: 'sha256',
  secp384r1: 'sha384',
  secp521r1: 'sha512',
}

function found<T>(name: string, part: T | undefined): T {
  if (typeof part !== 'function') throw unfit(`it has no ${name}`)
  return part
}

function unfit(what: string): ProxyError {
  return new ProxyError('runtime.unfit', `The SSH library cannot be used: ${what}.`)
}
