// Brings recordings to control, a few at a time, while they grow and when they are closed: asks where control stands, goes on from there
// with whole chunks, and lets the file go when control has sealed it. What control will never take goes into quarantine once it is
// closed; everything else is tried again for ever. Idempotent: what control has already is recognised by the hash of its last chunk.

import type { FileHandle } from 'node:fs/promises'

import { errorCode } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { pause } from './pause.ts'
import { hashBehind, openRecording, readPiece } from './recording-file.ts'
import type { DueRecording, RecordingSpool } from './recording-spool.ts'

/** Where control stands with a recording of ours. */
export interface UploadState {
  readonly bytes: number
  readonly hash: string
  readonly sealed: boolean
}

/** Control's calls. Each rejects with a ProxyError. */
export interface RecordingControl {
  state(sid: string): Promise<UploadState>
  put(sid: string, offset: number, bytes: Uint8Array): Promise<UploadState>
}

export interface RecordingUploadOptions {
  readonly spool: RecordingSpool
  readonly control: RecordingControl
  readonly log: Logger
}

/** Trying again does not change these. */
const FINAL: ReadonlySet<string> = new Set([
  'recording.damaged',
  'resource.invalid',
  'resource.conflict',
  'limit.exceeded',
  'policy.denied',
])

const UNSEEN = 'control does not see its end'

export class RecordingUpload {
  readonly #options: RecordingUploadOptions
  readonly #stopping = new AbortController()
  readonly #running = new Map<string, Promise<void>>()
  /** Where control stands with those that grow, as it last said; asked again after a failure. */
  readonly #known = new Map<string, UploadState>()

  constructor(options: RecordingUploadOptions) {
    this.#options = options
  }

  /** Recordings on their way. */
  get uploading(): number {
    return this.#running.size
  }

  /** Until it is stopped. */
  async run(): Promise<void> {
    const { spool, log } = this.#options
    const { signal } = this.#stopping
    let pauseMs = max('redialMinMs')
    while (!signal.aborted) {
      await spool.waiting()
      if (signal.aborted) break
      const failed = await this.round()
      pauseMs =
        failed === undefined ? max('redialMinMs') : Math.min(pauseMs * 2, max('redialMaxMs'))
      if (failed === undefined) continue
      log.debug('recordings not uploaded yet', { error: failed.message })
      await pause(pauseMs, signal)
    }
  }

  /** Each recording that is due now, once; gives the last failure that may pass. */
  async round(): Promise<Error | undefined> {
    let failed: Error | undefined
    for (const recording of this.#options.spool.due) {
      if (this.#stopping.signal.aborted) break
      if (this.#running.size >= max('recordingUploadsMax'))
        await Promise.race(this.#running.values())
      const upload = this.#upload(recording)
        .catch((error: unknown) => {
          failed = error instanceof Error ? error : new Error(String(error))
        })
        .finally(() => this.#running.delete(recording.sid))
      this.#running.set(recording.sid, upload)
    }
    await Promise.all(this.#running.values())
    return failed
  }

  stop(): void {
    this.#stopping.abort()
  }

  async #upload(recording: DueRecording): Promise<void> {
    const { sid, bytes, closed } = recording
    const { spool } = this.#options
    try {
      const problem = await this.#send(recording)
      if (problem !== undefined) return await this.#refused(recording, problem)
      spool.offered(sid, bytes)
      if (closed) {
        this.#known.delete(sid)
        await spool.drop(sid)
      }
    } catch (error) {
      this.#known.delete(sid)
      const code = errorCode(error)
      if (code === undefined || !FINAL.has(code)) throw error
      await this.#refused(recording, error instanceof Error ? error.message : code)
    }
  }

  /** Kept aside, but not while it is written: then it is offered once more when it has its end. */
  async #refused({ sid, bytes, closed }: DueRecording, reason: string): Promise<void> {
    const { spool, log } = this.#options
    this.#known.delete(sid)
    if (closed) return await spool.quarantine(sid, reason)
    log.warn('control does not take a recording that is being made', { sid, reason })
    return spool.offered(sid, bytes)
  }

  /** What is wrong with it; undefined when control has what there is. */
  async #send(recording: DueRecording): Promise<string | undefined> {
    const { sid, whole } = recording
    if (whole === undefined || this.#known.has(sid)) return await this.#sendFile(recording)
    try {
      // Most are new to control: it is asked where it stands only when this one is not.
      const { sealed } = await this.#options.control.put(sid, 0, whole)
      return sealed ? undefined : UNSEEN
    } catch (error) {
      if (errorCode(error) !== 'resource.conflict') throw error
      return await this.#sendFile(recording)
    }
  }

  async #sendFile({ sid, path, bytes: end, closed }: DueRecording): Promise<string | undefined> {
    const { control } = this.#options
    const handle = await openRecording(path)
    try {
      let state = this.#known.get(sid) ?? (await this.#ask(sid, handle))
      if (state === undefined) return 'control holds another recording of this session'
      while (!state.sealed && state.bytes < end) {
        if (this.#stopping.signal.aborted) throw new Error('stopped')
        const bytes = await readPiece(handle, state.bytes, end)
        if (bytes.length === 0) return 'it goes on with what is no chunk'
        state = await control.put(sid, state.bytes, bytes)
        if (!closed) this.#known.set(sid, state)
      }
      return closed && !state.sealed ? UNSEEN : undefined
    } finally {
      await handle.close()
    }
  }

  /** Where control stands; undefined when that is nowhere in our file. */
  async #ask(sid: string, handle: FileHandle): Promise<UploadState | undefined> {
    const state = await this.#options.control.state(sid)
    const ours = state.bytes === 0 ? '' : await hashBehind(handle, state.bytes)
    return ours === state.hash ? state : undefined
  }
}
