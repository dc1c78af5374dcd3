// Brings closed recordings to control, a few at a time: asks where control stands, goes on from there with whole chunks, and lets the file
// go when control has sealed it. What control will never take goes into quarantine; everything else is tried again for ever. Idempotent:
// what control has already is recognised by the hash of its last chunk.

import { errorCode } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import { pause } from './pause.ts'
import { hashBehind, openRecording, readPiece } from './recording-file.ts'
import type { ClosedRecording, RecordingSpool } from './recording-spool.ts'

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

export class RecordingUpload {
  readonly #options: RecordingUploadOptions
  readonly #stopping = new AbortController()
  readonly #running = new Map<string, Promise<void>>()

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

  /** Each recording that is closed now, once; gives the last failure that may pass. */
  async round(): Promise<Error | undefined> {
    let failed: Error | undefined
    for (const recording of this.#options.spool.closed) {
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

  async #upload({ sid, path }: ClosedRecording): Promise<void> {
    const { spool } = this.#options
    try {
      const problem = await this.#send(sid, path)
      if (problem === undefined) await spool.drop(sid)
      else await spool.quarantine(sid, problem)
    } catch (error) {
      const code = errorCode(error)
      if (code === undefined || !FINAL.has(code)) throw error
      await spool.quarantine(sid, error instanceof Error ? error.message : code)
    }
  }

  /** What is wrong with it; undefined when control has it whole. */
  async #send(sid: string, path: string): Promise<string | undefined> {
    const { control } = this.#options
    const handle = await openRecording(path)
    try {
      let state = await control.state(sid)
      const ours = state.bytes === 0 ? '' : await hashBehind(handle, state.bytes)
      if (ours !== state.hash) return 'control holds another recording of this session'
      while (!state.sealed) {
        if (this.#stopping.signal.aborted) throw new Error('stopped')
        const bytes = await readPiece(handle, state.bytes)
        if (bytes.length === 0) return 'it goes on with what is no chunk'
        state = await control.put(sid, state.bytes, bytes)
      }
      return undefined
    } finally {
      await handle.close()
    }
  }
}
