// A recording as commands read it: from control or from a file, piece by piece, verified on the way. Gives events in order; what is
// damaged is kept for the end, so that one flipped bit does not hide the rest. Holds one chunk at a time.

import { constants } from 'node:fs'
import { open } from 'node:fs/promises'

import type { ControlClient } from '../../control/api/client.ts'
import { errorCode } from '../../core/errors.ts'
import { type RecordingEvent, unpackEvents } from '../../core/recording/events.ts'
import type { RecordingHeader } from '../../core/recording/format.ts'
import { isRecordingSid } from '../../core/recording/name.ts'
import { type Damage, RecordingVerifier, type VerifiedChunk } from '../../core/recording/verify.ts'
import { usage } from '../command.ts'
import { CommandError, EXIT } from '../exit.ts'

const READ_BYTES = 256 * 1024

/** The bytes of a recording, in order. */
export type Bytes = AsyncIterable<Uint8Array>

export class RecordingReader {
  readonly #source: Bytes
  readonly #seen: ((chunk: VerifiedChunk) => void) | undefined
  readonly #verifier = new RecordingVerifier()
  readonly #unread: Damage[] = []
  chunks = 0
  bytes = 0

  /** `seen` hears of each chunk. */
  constructor(source: Bytes, seen?: (chunk: VerifiedChunk) => void) {
    this.#source = source
    this.#seen = seen
  }

  /** Known with the first event. */
  get header(): RecordingHeader | undefined {
    return this.#verifier.header
  }

  /** All of them when the events have been read to their end. */
  get damages(): readonly Damage[] {
    return [...this.#verifier.damages, ...this.#unread].sort((a, b) => a.offset - b.offset)
  }

  /** Throws for what is no recording at all. */
  async *events(): AsyncGenerator<RecordingEvent, undefined> {
    for await (const bytes of this.#source) {
      this.bytes += bytes.length
      for (const verified of this.#verifier.push(bytes)) {
        const { chunk, offset } = verified
        this.chunks++
        this.#seen?.(verified)
        try {
          yield* unpackEvents(chunk)
        } catch (error) {
          if (errorCode(error) !== 'recording.damaged') throw error
          const detail = `chunk ${chunk.seq} holds what its recorder never wrote`
          this.#unread.push({ kind: 'malformed', offset, detail })
        }
      }
    }
    this.#verifier.end()
  }
}

const REMEMBERED_BYTES_MAX = 64 * 1024 * 1024

/**
 * One source that is read again and again, as a player does that goes back. What was read is remembered while it is not too much;
 * of more the source is opened anew, which control writes into its log each time.
 */
export class Rereadable {
  readonly #open: () => Bytes
  readonly #bytesMax: number
  #source: AsyncIterator<Uint8Array> | undefined
  #pieces: Uint8Array[] | undefined = []
  #bytes = 0

  constructor(open: () => Bytes, bytesMax: number = REMEMBERED_BYTES_MAX) {
    this.#open = open
    this.#bytesMax = bytesMax
  }

  /** From the beginning. One at a time: the pass before is over. */
  async *pass(): Bytes {
    if (this.#pieces === undefined) this.close()
    const source = (this.#source ??= this.#open()[Symbol.asyncIterator]())
    for (const piece of this.#pieces ?? []) yield piece
    for (;;) {
      const step: IteratorResult<Uint8Array, unknown> = await source.next()
      if (step.done === true) return
      this.#remember(step.value)
      yield step.value
    }
  }

  /** Waits for nothing: the source may stand still, and nobody reads it any more. */
  close(): void {
    const source = this.#source
    this.#source = undefined
    void source?.return?.().catch(() => undefined)
  }

  #remember(piece: Uint8Array): void {
    this.#bytes += piece.length
    if (this.#bytes > this.#bytesMax) this.#pieces = undefined
    this.#pieces?.push(piece)
  }
}

/** Where the recording is: control's for a session's id, else a file. */
export function isStored(name: string): boolean {
  return isRecordingSid(name.toLowerCase())
}

export async function* storedBytes(client: ControlClient, sid: string): Bytes {
  for await (const { data } of client.stream('recording-read', { sid: sid.toLowerCase() }))
    yield Buffer.from(data, 'base64')
}

export async function* fileBytes(path: string): Bytes {
  const handle = await open(path, constants.O_RDONLY).catch((error: unknown) => {
    throw usage(
      `"${path}" is neither the id of a session nor a file that can be read: ${String(error)}`,
      'tsh recordings ls shows the ids.',
    )
  })
  try {
    for (;;) {
      const { bytesRead, buffer } = await handle.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES)
      if (bytesRead === 0) return
      yield buffer.subarray(0, bytesRead)
    }
  } finally {
    await handle.close()
  }
}

/** Fails, naming each damage; nothing when there is none. */
export function refuseDamaged(damages: readonly Damage[]): void {
  if (damages.length === 0) return
  const lines = damages.map(damageText)
  throw new CommandError(
    `the recording is damaged:\n${lines.map((line) => `  ${line}`).join('\n')}`,
    EXIT.failure,
    'The audit log has the hashes of its chunks: tctl audit ls --types=session.recording.chunks,session.upload',
  )
}

function damageText({ kind, offset, detail }: Damage): string {
  return `byte ${offset}: ${kind}: ${detail}`
}
