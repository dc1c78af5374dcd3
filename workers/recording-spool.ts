// The recordings of one process on disk, one file each, until control has them: `recording` while its session writes, then `closed`, or
// `quarantined` when control will not have it. Chunks come from the threads; each is answered when it is durable. At the start, and when
// a thread crashes, what was left without an end gets one that says so. The audit log hears of new chunks by their hash.

import type { FileHandle } from 'node:fs/promises'
import { mkdir, open, readdir, rename, rm, stat, unlink } from 'node:fs/promises'
import { join } from 'node:path'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { FromRecorder, RecordingOutcome } from '../core/messages.ts'
import { recordingName, sidOfName } from '../core/recording/name.ts'
import { SharedTurn } from '../core/shared-turn.ts'
import { appendDurably, completeRecording, createRecording } from './recording-file.ts'
import { Slots } from './slots.ts'
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
  /** All of it, when that is little: its upload reads no file. */
  whole?: Uint8Array
  /** Not told yet. */
  told?: { readonly seq: number; readonly hash: string }
  /** Of `bytes`: control has them, or was last offered them. */
  offered: number
  /** It is time to offer what it grew by. */
  grown: boolean
}

/** What control may have of a recording now. */
export interface DueRecording {
  readonly sid: string
  readonly path: string
  /** Durable: whole chunks, whatever follows in the file. */
  readonly bytes: number
  /** Its end is among them. */
  readonly closed: boolean
  /** These bytes, when they are in memory. */
  readonly whole?: Uint8Array
}

export const QUARANTINE = 'quarantine'

const EMPTY = { state: 'recording', bytes: 0, offered: 0, grown: false } as const
const LOST = 'what it had in memory, up to the last two seconds, is lost'
const PROCESS_ENDED = `the process that recorded it ended before its session did; ${LOST}`
const THREAD_CRASHED = `the thread that recorded it crashed; ${LOST}`

export class RecordingSpool implements RecordingKeeper {
  readonly #options: RecordingSpoolOptions
  readonly #files = new Map<string, SpooledFile>()
  readonly #slots = new Slots(max('recordingWritesMax'))
  /** Of the folder: its sync makes the names of new files durable. */
  readonly #folder: FileHandle
  readonly #names: SharedTurn
  #quarantined = 0
  /** Of all files here, those in quarantine too. */
  #bytes = 0
  /** Of those that are in memory. */
  #wholeBytes = 0
  #cancelTell: (() => void) | undefined
  #cancelGrown: (() => void) | undefined
  #waiting: (() => void)[] = []

  private constructor(options: RecordingSpoolOptions, folder: FileHandle) {
    this.#options = options
    this.#folder = folder
    this.#names = new SharedTurn(() => folder.sync())
  }

  static async open(options: RecordingSpoolOptions): Promise<RecordingSpool> {
    const { folder } = options
    await mkdir(join(folder, QUARANTINE), { recursive: true, mode: 0o700 })
    const spool = new RecordingSpool(options, await open(folder, 'r'))
    for (const name of await readdir(join(folder, QUARANTINE))) {
      spool.#quarantined++
      spool.#bytes += (await stat(join(folder, QUARANTINE, name))).size
    }
    for (const name of await readdir(folder)) {
      const sid = sidOfName(name)
      if (sid === undefined) continue
      const file: SpooledFile = { ...EMPTY, sid, path: join(folder, name) }
      spool.#files.set(sid, file)
      await spool.#complete(file, PROCESS_ENDED)
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

  /** Oldest first: those with an end, and those that grew enough, or long enough ago. */
  get due(): readonly DueRecording[] {
    return [...this.#files.values()]
      .filter(({ state, grown }) => state === 'closed' || grown)
      .map(({ sid, path, bytes, state, whole }) => ({
        sid,
        path,
        bytes,
        closed: state === 'closed',
        ...(whole === undefined ? {} : { whole }),
      }))
  }

  /** Resolves when one is due, or at once when one is. */
  waiting(): Promise<void> {
    if (this.due.length > 0) return Promise.resolve()
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  /** So much of it was offered to control: no more is due before it grows again. */
  offered(sid: string, bytes: number): void {
    const file = this.#files.get(sid)
    if (file === undefined) return
    file.offered = bytes
    file.grown = false
    if (file.state === 'recording' && file.bytes > bytes) this.#grew(file)
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
        await this.#complete(file, THREAD_CRASHED)
      })
    }
  }

  /** Control has it. */
  async drop(sid: string): Promise<void> {
    const file = this.#files.get(sid)
    if (file === undefined) return
    await unlink(file.path)
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
    this.#bytes += file.bytes
    log.error('a recording was put into quarantine', { sid, reason })
    audit('session.recording.quarantined', 'SLV002W', { sid, reason, recorded_bytes: file.bytes })
  }

  async close(): Promise<void> {
    this.#tell()
    this.#cancelGrown?.()
    await this.#slots.idle()
    for (const { handle } of this.#files.values()) await handle?.close()
    await this.#folder.close()
    this.#wake()
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
    if (seq === 1 && last) this.#hold(file, bytes)
    if (last) await this.#closed(file)
    else this.#grew(file)
    return 'kept'
  }

  /** Until control has it, or has not had it for so long that there is no room. */
  #hold(file: SpooledFile, bytes: Uint8Array): void {
    if (this.#wholeBytes + bytes.length > max('recordingHeldBytesMax')) return
    this.#wholeBytes += bytes.length
    file.whole = bytes
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
      await this.#names.run()
      return file
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'EEXIST') return undefined
      log.error('a recording could not be begun', { sid, error: String(error) })
      return 'refused'
    }
  }

  async #begin(owner: object, sid: string, path: string): Promise<SpooledFile> {
    const handle = await createRecording(path)
    const file: SpooledFile = { ...EMPTY, sid, path, handle, owner }
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
    this.#wake()
  }

  /** Control hears of what is new in a while, or at once when that is much: a host that is lost takes no more than this with it. */
  #grew(file: SpooledFile): void {
    if (file.bytes - file.offered >= max('recordingUploadBytes')) {
      file.grown = true
      this.#wake()
    }
    this.#cancelGrown ??= this.#options.timers.after(max('recordingUploadMs'), () => {
      this.#cancelGrown = undefined
      for (const each of this.#files.values()) each.grown ||= each.bytes > each.offered
      this.#wake()
    })
  }

  #wake(): void {
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
    this.#wholeBytes -= file.whole?.length ?? 0
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
