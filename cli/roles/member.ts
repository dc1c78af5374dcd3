// What proxies and agents have in common: an identity (joined or read), a client of control's API under it, a spool of audit
// events that is uploaded in the background, renewal, and the signed trust they keep on disk.

import { type ControlClient, connectControl } from '../../control/api/client.ts'
import type { ControlTrust } from '../../control/api/trust.ts'
import { systemClock } from '../../core/clock.ts'
import { errorCode, ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import type { SavedTrust } from '../../core/snapshot-keeper.ts'
import type { AuditCheckpoint } from '../../core/snapshot.ts'
import { Anchor } from '../../workers/anchor.ts'
import { pause } from '../../workers/pause.ts'
import { RecordingSpool } from '../../workers/recording-spool.ts'
import { RecordingUpload } from '../../workers/recording-upload.ts'
import { openSpool, type Spool } from '../../workers/spool.ts'
import { systemTimers } from '../../workers/timers.ts'
import path from 'node:path'

import { type Connect } from '../connect.ts'
import {
  carriesHost,
  hostCas,
  IdentityFile,
  type HostIdentity,
  join,
  type JoinOptions,
  renew,
  renewAtMs,
} from './identity.ts'
import { KeptFile } from './kept-file.ts'

export interface MemberOptions {
  readonly folder: string
  readonly connect: Connect
  readonly pins: readonly string[]
  readonly join: Omit<JoinOptions, 'token'> & { readonly token: string | undefined }
  readonly log: Logger
}

export class Member {
  readonly client: ControlClient
  readonly spool: Spool
  readonly recordings: RecordingSpool
  readonly #recordingUpload: RecordingUpload
  readonly #options: MemberOptions
  readonly #file: IdentityFile
  readonly #trust: KeptFile
  readonly #anchor: KeptFile
  readonly #stopping = new AbortController()
  #identity: HostIdentity
  #renewal: NodeJS.Timeout | undefined
  #onRenewed: (identity: HostIdentity) => void = () => {}
  /** Control answered with the public address of this start: what it left out then, it leaves out until the next renewal. */
  #named: boolean

  private constructor(
    options: MemberOptions,
    file: IdentityFile,
    identity: HostIdentity,
    spool: Spool,
    recordings: RecordingSpool,
    joined: boolean,
  ) {
    this.#options = options
    this.#file = file
    this.#identity = identity
    const { folder, log } = options
    this.#trust = new KeptFile(path.join(folder, 'trust.json'), log)
    this.#anchor = new KeptFile(path.join(folder, 'anchor.json'), log)
    this.spool = spool
    this.recordings = recordings
    this.#named = joined
    this.client = connectControl({
      connect: options.connect,
      trust: (): ControlTrust => ({
        cas: hostCas(this.#identity),
        cluster: this.#identity.cluster,
      }),
      identity: () => ({ certificate: this.#identity.certificate, key: this.#identity.key }),
    })
    this.#recordingUpload = new RecordingUpload({
      spool: recordings,
      control: {
        state: (sid) => this.client.call('recording-state', { sid }),
        put: (sid, offset, bytes) => {
          const data = Buffer.from(bytes).toString('base64')
          return this.client.call('recording-put', { sid, offset, data })
        },
      },
      log,
    })
  }

  /** Reads the identity, or joins. Joining is tried until it succeeds or control says no. */
  static async open(options: MemberOptions): Promise<Member> {
    const file = new IdentityFile(options.folder)
    const known = file.read()
    const identity = known ?? (await joinUntil(options))
    if (known === undefined) file.write(identity)
    const { id, cluster } = identity
    const spool = await openSpool({
      folder: path.join(options.folder, 'audit'),
      id,
      cluster,
      clock: systemClock,
      logger: options.log,
    })
    const recordings = await RecordingSpool.open({
      folder: path.join(options.folder, 'recordings'),
      clock: systemClock,
      timers: systemTimers,
      log: options.log,
      audit: (name, code, fields) => void spool.emit(name, code, fields),
    })
    const member = new Member(options, file, identity, spool, recordings, known === undefined)
    void member.#upload()
    void member.#recordingUpload.run()
    if (member.#lacksHost()) void member.#renew()
    else member.#planRenewal()
    return member
  }

  get identity(): HostIdentity {
    return this.#identity
  }

  /** What was believed before the restart; at first only the signers named by the join. */
  savedTrust(): SavedTrust {
    const text = this.#trust.read()
    if (text !== undefined) return JSON.parse(text) as SavedTrust
    return { signers: this.#identity.signers, revision: 0, lockRevision: 0 }
  }

  saveTrust(saved: SavedTrust): void {
    this.#trust.write(JSON.stringify(saved))
  }

  /** The newest audit checkpoint heard, kept beside the trust. */
  anchor(): Anchor {
    const text = this.#anchor.read()
    return new Anchor({
      saved: text === undefined ? undefined : (JSON.parse(text) as AuditCheckpoint),
      save: (checkpoint) => this.#anchor.write(JSON.stringify(checkpoint)),
      onFork: (reason, kept, next) =>
        this.audit('audit.fork', 'SLA003E', {
          writer: next.writer,
          seq: next.count,
          reason,
          expected_hash: kept.head,
          claimed_hash: next.head,
        }),
    })
  }

  onRenewed(handler: (identity: HostIdentity) => void): void {
    this.#onRenewed = handler
  }

  /** Emits an event of this host. Losing one is counted by the spool and told in the log itself. */
  audit(name: string, code: string, fields: Readonly<Record<string, unknown>>): void {
    void this.spool.emit(name, code, fields)
  }

  async close(): Promise<void> {
    this.#stopping.abort()
    clearTimeout(this.#renewal)
    this.#recordingUpload.stop()
    await this.recordings.close()
    this.client.close()
    this.#trust.close()
    this.#anchor.close()
    await this.spool.close()
  }

  async #upload(): Promise<void> {
    const { signal } = this.#stopping
    let pauseMs = max('redialMinMs')
    while (!signal.aborted) {
      await this.spool.waiting()
      try {
        await this.spool.drain(async (lines, count) => {
          // Meanwhile more gather: a request and two syncs for each event cost more than relaying the session it tells of.
          if (count < max('auditBatchMax')) await pause(max('auditGatherMs'), signal)
          return (await this.client.call('audit-upload', { lines: [] }, { lines })).acknowledged
        })
        pauseMs = max('redialMinMs')
      } catch (error) {
        if (signal.aborted) return
        this.#options.log.debug('audit records not uploaded yet', { error: String(error) })
        await pause(pauseMs, signal)
        pauseMs = Math.min(pauseMs * 2, max('redialMaxMs'))
      }
    }
  }

  #planRenewal(): void {
    const leftMs = this.#lacksHost() ? 0 : renewAtMs(this.#identity) - systemClock.now()
    const inMs = Math.max(leftMs, max('renewalRetryMs'))
    this.#renewal = setTimeout(() => void this.#renew(), Math.min(inMs, TIMER_MS_MAX))
    this.#renewal.unref()
  }

  #isDue(): boolean {
    return this.#lacksHost() || systemClock.now() >= renewAtMs(this.#identity)
  }

  /** A proxy moved, or joined before certificates carried its public host. */
  #lacksHost(): boolean {
    const { address } = this.#options.join
    return address !== undefined && !this.#named && !carriesHost(this.#identity, address)
  }

  async #renew(): Promise<void> {
    const { log } = this.#options
    try {
      if (this.#isDue()) {
        const renewed = await renew(this.client, this.#identity, this.#options.join.address)
        // Kept before it is used: a restart with an older one than control has seen is taken for a copy.
        this.#file.write(renewed)
        this.#identity = renewed
        this.#named = true
        this.client.reset()
        this.#onRenewed(renewed)
        log.info('identity renewed', { id: this.#identity.id })
      }
    } catch (error) {
      log.warn('identity not renewed; trying again', {
        error: String(error),
        code: errorCode(error),
      })
    }
    if (!this.#stopping.signal.aborted) this.#planRenewal()
  }
}

/** Node's longest timer. */
const TIMER_MS_MAX = 2 ** 31 - 1

async function joinUntil(options: MemberOptions): Promise<HostIdentity> {
  const { token, ...wanted } = options.join
  if (token === undefined)
    throw new ProxyError(
      'config.invalid',
      `this ${wanted.role} has no identity yet and no token to join with`,
      {
        next: 'Run `tctl tokens add --type=…` on the control machine and put token and ca_pin into sluice.yaml (auth_token, ca_pin).',
      },
    )
  if (options.pins.length === 0)
    throw new ProxyError(
      'trust.unproven',
      'joining needs ca_pin: without it this machine cannot tell the cluster from an impostor',
      {
        next: '`tctl status` prints the pin.',
      },
    )
  const client = connectControl({ connect: options.connect, trust: { pins: options.pins } })
  try {
    return await retry(() => join(client, { ...wanted, token }), options.log)
  } finally {
    client.close()
  }
}

async function retry(attempt: () => Promise<HostIdentity>, log: Logger): Promise<HostIdentity> {
  for (let pauseMs = max('redialMinMs'); ; pauseMs = Math.min(pauseMs * 2, max('redialMaxMs'))) {
    try {
      return await attempt()
    } catch (error) {
      const code = errorCode(error)
      if (code !== 'control.unavailable' && code !== 'dial.failed') throw error
      log.warn('cannot join yet', { error: error instanceof Error ? error.message : String(error) })
      await pause(pauseMs)
    }
  }
}
