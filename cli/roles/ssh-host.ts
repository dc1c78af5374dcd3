// The SSH host key of a proxy or agent: made at the first start, kept in its folder, certified by control for the names that control
// gives this host. Certified anew after a third of the certificate's life, when the names changed, and when another CA signs hosts. An
// old certificate is shown until there is a new one; one that is over, never.

import { createPrivateKey, generateKeyPairSync } from 'node:crypto'
import path from 'node:path'

import { readSshCertificate } from '../../core/cert/ssh.ts'
import type { Clock } from '../../core/clock.ts'
import { errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import { Deadlines, type Timers } from '../../workers/timers.ts'
import type { SshHostKeys } from '../../workers/trust.ts'
import { readText, writeWhole } from '../profile.ts'

export interface SshHostOptions {
  readonly folder: string
  readonly clock: Clock
  readonly timers: Timers
  readonly log: Logger
  /** Asks control: the public key and the certificate as wire bytes, base64. */
  readonly certify: (publicKey: string) => Promise<{ readonly certificate: string }>
  readonly onKeys: (keys: SshHostKeys) => void
}

interface Kept {
  /** PKCS#8, PEM. */
  readonly key: string
  readonly certificate?: string
  /** What the certificate was asked for. */
  readonly names?: string
}

interface Certified {
  readonly certificate: Uint8Array
  readonly caKey: Uint8Array
  readonly renewAtMs: number
  readonly expiresAtMs: number
}

export class SshHost {
  readonly #options: SshHostOptions
  readonly #file: string
  readonly #deadlines: Deadlines<'certify'>
  #kept: Kept
  #certified: Certified | undefined
  /** What is to be certified; undefined while control has not said that there is anything. */
  #names: string | undefined
  /** The CA that signs hosts now. */
  #ca: Uint8Array | undefined
  #asking = false
  #closed = false

  constructor(options: SshHostOptions) {
    this.#options = options
    this.#file = path.join(options.folder, 'ssh-host.json')
    this.#deadlines = new Deadlines(options.clock, options.timers)
    this.#kept = readKept(this.#file) ?? newKept(this.#file)
    this.#certified = certifiedOf(this.#kept)
  }

  /** What can be shown now. */
  get keys(): SshHostKeys | undefined {
    const { certificate, expiresAtMs = 0 } = this.#certified ?? {}
    if (certificate === undefined || expiresAtMs <= this.#options.clock.now()) return undefined
    return { certificate, key: this.#kept.key }
  }

  /** Control serves this host under these names (or addresses, joined in any way): a certificate for others is not enough. */
  serves(names: string): void {
    if (this.#names === names) return
    this.#names = names
    this.#plan()
  }

  /** The CAs that certify hosts, as a snapshot has them: the first signs. */
  trusts(cas: readonly Uint8Array[]): void {
    this.#ca = cas[0]
    this.#plan()
  }

  close(): void {
    this.#closed = true
    this.#deadlines.clear()
  }

  #plan(): void {
    if (this.#names === undefined || this.#asking || this.#closed) return
    const dueMs = this.#isOutdated() ? 0 : (this.#certified?.renewAtMs ?? 0)
    this.#deadlines.at('certify', dueMs, () => void this.#certify())
  }

  #isOutdated(): boolean {
    const { caKey } = this.#certified ?? {}
    if (caKey === undefined || this.#kept.names !== this.#names) return true
    return this.#ca !== undefined && Buffer.compare(this.#ca, caKey) !== 0
  }

  async #certify(): Promise<void> {
    const { certify, log, onKeys } = this.#options
    const names = this.#names
    if (names === undefined) return
    this.#asking = true
    try {
      const { key } = this.#kept
      const blob = publicBlob(createPrivateKey(key))
      const { certificate } = await certify(Buffer.from(blob).toString('base64'))
      const kept = { key, certificate, names }
      const certified = certifiedOf(kept)
      if (this.#closed || certified === undefined) return
      writeWhole(this.#file, `${JSON.stringify(kept)}\n`)
      this.#kept = kept
      this.#certified = certified
      log.info('the SSH host key is certified', { names })
      onKeys({ certificate: certified.certificate, key })
      this.#asking = false
      // A CA that signs no longer is asked again only when the snapshot says something new.
      this.#ca = certified.caKey
      this.#plan()
    } catch (error) {
      log.warn('the SSH host key is not certified; trying again', {
        error: error instanceof Error ? error.message : String(error),
        code: errorCode(error),
      })
      if (!this.#closed)
        this.#deadlines.after('certify', max('renewalRetryMs'), () => void this.#certify())
    } finally {
      this.#asking = false
    }
  }
}

function readKept(file: string): Kept | undefined {
  const text = readText(file)
  return text === undefined ? undefined : (JSON.parse(text) as Kept)
}

function newKept(file: string): Kept {
  const { privateKey } = generateKeyPairSync('ed25519')
  const kept = { key: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString() }
  writeWhole(file, `${JSON.stringify(kept)}\n`)
  return kept
}

function certifiedOf({ certificate: text }: Kept): Certified | undefined {
  if (text === undefined) return undefined
  const certificate = Buffer.from(text, 'base64')
  const { validAfter, validBefore, caKey } = readSshCertificate(certificate)
  const [fromMs, expiresAtMs] = [Number(validAfter) * 1000, Number(validBefore) * 1000]
  return { certificate, caKey, expiresAtMs, renewAtMs: fromMs + (expiresAtMs - fromMs) / 3 }
}
