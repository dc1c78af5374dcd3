// The recordings of one process on disk, one file each, until control has them: `recording` while its session writes, then `closed`, or
// `quarantined` when control will not have it. Chunks come from the threads; each is answered when it is durable. At the start, and when
// a thread crashes, what was left without an end gets one that says so. The audit log hears of new chunks by their hash.

import type { FileHandle } from 'node:fs/promises'
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import { join } from 'node:path'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { FromRecorder, RecordingOutcome } from '../core/messages.ts'
import { recordingName, sidOfName } from '../core/recording/name.ts'
import { appendDurably, completeRecording, createRecording } from './recording-file.ts'
import { Slots } from './slots.ts'
import { syncFolder } from './spool-segments.ts'
import type { Timers } from './timers.ts'

export interface RecordingSpoolOptions {
  /** Made when absent, 0700. Belongs to this process alone. */
  readonly folder: string
  readonly clock: Clock
  readonly timers: Timers
  readonly log: Logger
  readonly audit: (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void
  /** For tests: the bound, instead of recordingSpoolBytesMax. */
  readonly bytesMax?: number
}

/** What the main thread does with the chunks of its threads. `owner`: the thread. */
export interface RecordingKeeper {
  keep(owner: object, chunk: FromRecorder): Promise<RecordingOutcome>
  lost(owner: object): Promise<void>
}

interface SpooledFile {
  readonly sid: string
  readonly path: string
  state: 'recording' | 'closed'
  bytes: number
  /** While it is written. */
  handle?: FileHandle
  owner?: object
  /** Not told yet. */
  told?: { readonly seq: number; readonly hash: string }
}

export interface ClosedRecording {
  readonly sid: string
  readonly path: string
}

export const QUARANTINE = 'quarantine'

export class RecordingSpool implements RecordingKeeper {
  readonly #options: RecordingSpoolOptions
  readonly #files = new Map<string, SpooledFile>()
  readonly #slots = new Slots(max('recordingWritesMax'))
  #quarantined = 0
  #bytes = 0
  #cancelTell: (() => void) | undefined
  #waiting: (() => void)[] = []

  private constructor(options: RecordingSpoolOptions) {
    this.#options = options
  }

  static async open(options: RecordingSpoolOptions): Promise<RecordingSpool> {
    const { folder } = options
    await mkdir(join(folder, QUARANTINE), { recursive: true, mode: 0o700 })
    const spool = new RecordingSpool(options)
    spool.#quarantined = (await readdir(join(folder, QUARANTINE))).length
    for (const name of await readdir(folder)) {
      const sid = sidOfName(name)
      if (sid === undefined) continue
      const file: SpooledFile = { sid, path: join(folder, name), state: 'recording', bytes: 0 }
      spool.#files.set(sid, file)
      await spool.#complete(file, 'the process that recorded it ended before its session did')
    }
    return spool
  }

  /** Recordings that control does not have whole. */
  get atRisk(): number {
    return this.#files.size + this.#quarantined
  }

  get recording(): number {
    return [...this.#files.values()].filter(({ state }) => state === 'recording').length
  }

  get quarantined(): number {
    return this.#quarantined
  }

  /** Oldest first. */
  get closed(): readonly ClosedRecording[] {
    return [...this.#files.values()].filter(({ state }) => state === 'closed')
  }

  /** Resolves when one is closed, or at once when one is. */
  waiting(): Promise<void> {
    if (this.closed.length > 0) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** Makes a chunk durable. `owner`: the thread that records. */
  async keep(owner: object, chunk: FromRecorder): Promise<RecordingOutcome> {
    if (
      this.#bytes + chunk.bytes.length >
      (this.#options.bytesMax ?? max('recordingSpoolBytesMax'))
    )
      return 'refused'
    return await this.#slots.run(() => this.#keep(owner, chunk))
  }

  /** A thread is gone: what it recorded gets an end. */
  async lost(owner: object): Promise<void> {
    // A map may lose entries while it is walked.
    for (const file of this.#files.values()) {
      if (file.owner !== owner || file.state !== 'recording') continue
      await this.#slots.run(async () => {
        await file.handle?.close()
        delete file.handle
        await this.#complete(file, 'the thread that recorded it crashed')
      })
    }
  }

  /** Control has it. */
  async drop(sid: string): Promise<void> {
    const file = this.#files.get(sid)
    if (file === undefined) return
    await rm(file.path)
    this.#forget(file)
  }

  /** Control will never take it: kept aside, where somebody can look at it. */
  async quarantine(sid: string, reason: string): Promise<void> {
    const file = this.#files.get(sid)
    if (file === undefined) return
    const { log, audit, folder, clock } = this.#options
    // Of one session id there can be several.
    await rename(file.path, join(folder, QUARANTINE, `${sid}.${clock.now()}.rec`))
    this.#forget(file)
    this.#quarantined++
    log.error('a recording was put into quarantine', { sid, reason })
    audit('session.recording.quarantined', 'SLV002W', { sid, reason, recorded_bytes: file.bytes })
  }

  async close(): Promise<void> {
    this.#tell()
    await this.#slots.idle()
    for (const { handle } of this.#files.values()) await handle?.close()
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async #keep(
    owner: object,
    { sid, seq, last, hash, bytes }: FromRecorder,
  ): Promise<RecordingOutcome> {
    const file = seq === 1 ? await this.#create(owner, sid) : this.#files.get(sid)
    if (file === 'refused') return file
    if (file?.handle === undefined || file.owner !== owner) return 'unwanted'
    try {
      await appendDurably(file.handle, bytes, file.bytes)
    } catch (error) {
      this.#options.log.error('a recording could not be written', { sid, error: String(error) })
      return 'refused'
    }
    file.bytes += bytes.length
    this.#bytes += bytes.length
    file.told = { seq, hash }
    this.#cancelTell ??= this.#options.timers.after(max('recordingTellMs'), () => this.#tell())
    if (last) await this.#closed(file)
    return 'kept'
  }

  async #create(owner: object, sid: string): Promise<SpooledFile | 'refused' | undefined> {
    const name = recordingName(sid)
    const known = this.#files.get(sid)
    // The first chunk may come again, after the disk refused it.
    const again = known?.owner === owner && known.bytes === 0
    if (name === undefined || (known !== undefined && !again)) return undefined
    const { folder, log } = this.#options
    try {
      const file = known ?? (await this.#begin(owner, sid, join(folder, name)))
      await syncFolder(folder)
      return file
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return undefined
      log.error('a recording could not be begun', { sid, error: String(error) })
      return 'refused'
    }
  }

  async #begin(owner: object, sid: string, path: string): Promise<SpooledFile> {
    const handle = await createRecording(path)
    const file: SpooledFile = { sid, path, state: 'recording', bytes: 0, handle, owner }
    this.#files.set(sid, file)
    return file
  }

  async #closed(file: SpooledFile): Promise<void> {
    const { handle, sid } = file
    // All of it is durable: what closing has to say changes nothing.
    await handle?.close().catch((error: unknown) => {
      this.#options.log.warn('the file of a recording was not closed', {
        sid,
        error: String(error),
      })
    })
    delete file.handle
    delete file.owner
    file.state = 'closed'
    for (const wake of this.#waiting.splice(0)) wake()
  }

  async #complete(file: SpooledFile, reason: string): Promise<void> {
    const { clock, log } = this.#options
    const { sid, path } = file
    const outcome = await completeRecording(path, reason, clock.now())
    log.info('a recording was found without its session', { sid, outcome })
    if (outcome === 'empty') {
      await rm(path)
      return this.#forget(file)
    }
    const { size } = await stat(path)
    this.#bytes += size - file.bytes
    file.bytes = size
    if (outcome === 'damaged') return await this.quarantine(sid, 'it is damaged')
    return await this.#closed(file)
  }

  #forget(file: SpooledFile): void {
    this.#files.delete(file.sid)
    this.#bytes -= file.bytes
    this.#tellOf(file)
  }

  #tell(): void {
    this.#cancelTell?.()
    this.#cancelTell = undefined
    for (const file of this.#files.values()) this.#tellOf(file)
  }

  /** The newest hash covers all chunks before it. */
  #tellOf(file: SpooledFile): void {
    const { told, sid, bytes } = file
    if (told === undefined) return
    delete file.told
    const { seq, hash } = told
    this.#options.audit('session.recording.chunks', 'SLV001I', {
      sid,
      chunk_seq: seq,
      chunk_hash: hash,
      recorded_bytes: bytes,
    })
  }
}
