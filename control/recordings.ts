// The recordings that agents and proxies upload: taken over piece by piece, each piece whole chunks that follow what is here, on disk
// before it is acknowledged. What a host uploads lies in a folder of its own until its end seals it; then it is told to the log, listed,
// and never written again. Believes what a recording says of its session no more than the host that recorded it.

import { rm } from 'node:fs/promises'

import { errorCode, ProxyError } from '../core/errors.ts'
import type { SystemIdentity } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import { RecordingChain } from '../core/recording/chain.ts'
import { packEvents } from '../core/recording/events.ts'
import { type Chunk, damaged, writeChunk } from '../core/recording/format.ts'
import type { CallContext } from './api/handler.ts'
import type {
  Recording,
  RecordingPiece,
  RecordingQuery,
  RecordingState,
} from './api/recording-messages.ts'
import type { Base } from './base.ts'
import { contents, notFound, RecordingFiles } from './recording-files.ts'
import { Flattener, writeFlat } from './recording-flat.ts'
import { RecordingIndex, type RecordingPage } from './recording-index.ts'
import {
  isoTime,
  NOTHING_TOLD,
  recordingOf,
  type Told,
  toldBy,
  uploadFields,
} from './recording-told.ts'

/** What sluice.yaml says of them. */
export interface RecordingSettings {
  /** Older ones are removed; absent: none is. */
  readonly retentionMs?: number
  /** Of the whole store. */
  readonly bytesMax: number
}

/** One that is being taken over: what is durable of it. */
interface Incoming {
  readonly sid: string
  readonly host: string
  readonly file: string
  readonly chain: RecordingChain
  told: Told
}

const ABANDONED =
  'its recorder was not heard of again: this is what control had of it, and it may have gone on'

export class Recordings {
  readonly #base: Base
  readonly #files: RecordingFiles
  readonly #index: RecordingIndex
  readonly #flats: Flattener
  /** By file. Read from disk when a host goes on with one after a restart. */
  readonly #incoming = new Map<string, Incoming>()
  /** Work on one session's recordings is done one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()
  #settings: RecordingSettings
  #incomingBytes = 0
  #full = false
  #sweeping = false
  readonly #openedAtMs: number
  #closed = false

  private constructor(
    base: Base,
    files: RecordingFiles,
    index: RecordingIndex,
    settings: RecordingSettings,
  ) {
    this.#base = base
    this.#files = files
    this.#index = index
    this.#settings = settings
    this.#openedAtMs = base.clock.monotonic()
    this.#flats = new Flattener((sid) => this.#flatten(sid), base.log)
  }

  static async open(base: Base, folder: string, settings: RecordingSettings): Promise<Recordings> {
    const files = new RecordingFiles(folder)
    const { index, fresh } = await RecordingIndex.open(base)
    const recordings = new Recordings(base, files, index, settings)
    recordings.#incomingBytes = await files.incomingBytes()
    if (fresh) await recordings.#adopt()
    for (const sid of await index.flatsOwed()) recordings.#flats.want(sid)
    return recordings
  }

  /** Bytes on disk. */
  get bytes(): number {
    return this.#index.bytes + this.#incomingBytes
  }

  set settings(settings: RecordingSettings) {
    this.#settings = settings
  }

  /** Where the caller goes on with its recording of this session. */
  state(sid: string, { id }: SystemIdentity): Promise<RecordingState> {
    return this.#inTurn(sid, async () => {
      const sealed = await this.#index.get(sid)
      if (sealed !== undefined) return await this.#stateOfSealed(sealed, id)
      const incoming = await this.#known(sid, id)
      return incoming?.chain.ended === true
        ? await this.#seal(incoming)
        : stateOf(incoming?.chain ?? new RecordingChain())
    })
  }

  /** Takes whole chunks that begin at `offset`. Resolves when they are durable. */
  put(
    sid: string,
    offset: number,
    bytes: Uint8Array,
    { id }: SystemIdentity,
  ): Promise<RecordingState> {
    return this.#inTurn(sid, async () => {
      if ((await this.#index.get(sid)) !== undefined)
        throw conflict('This recording is sealed; nothing is added to it.')
      this.#checkRoom(bytes.length)
      const incoming = (await this.#known(sid, id)) ?? (await this.#begin(sid, id))
      const { chain } = incoming
      if (offset !== chain.bytes)
        throw conflict(`The recording goes on at ${chain.bytes}, not at ${offset}.`)
      if (chain.bytes + bytes.length > max('recordingBytesMax'))
        throw refused('The recording is longer than recordingBytesMax.')
      try {
        await this.#append(incoming, bytes)
      } catch (error) {
        // The chain may be ahead of the file: it is read again.
        this.#incoming.delete(incoming.file)
        throw error
      }
      return chain.ended ? await this.#seal(incoming) : stateOf(chain)
    })
  }

  /** Newest first. */
  list(query: RecordingQuery): Promise<RecordingPage> {
    return this.#index.list(query)
  }

  /** The file, piece by piece. Who reads it is told to the log first. */
  async *read(sid: string, context: CallContext): AsyncGenerator<RecordingPiece, undefined> {
    const recording = await this.#index.get(sid)
    if (recording === undefined) throw notFound(sid)
    await context.audit('session.recording.access', 'T2012I', {
      sid,
      session_user: recording.user,
      target_name: recording.target,
    })
    const handle = await this.#inTurn(sid, async () => {
      await this.#files.seal(sid, recording.serverId)
      return await this.#files.open(this.#files.path(sid))
    })
    if (handle === undefined) throw notFound(sid)
    try {
      for await (const bytes of contents(handle))
        yield { data: Buffer.from(bytes).toString('base64') }
    } finally {
      await handle.close()
    }
  }

  /** Once a minute. `isHeard`: whether a host was heard of within a day. */
  async sweep(isHeard: (host: string) => boolean): Promise<void> {
    // The last one may take longer than a minute.
    if (this.#sweeping) return
    this.#sweeping = true
    try {
      this.#incomingBytes = await this.#files.incomingBytes()
      await this.#sweepIncoming(isHeard)
      await this.#sweepOld()
    } finally {
      this.#sweeping = false
    }
  }

  /** Ends what nobody goes on with, so that it can be seen. Whoever was just started knows too little of who is there. */
  async #sweepIncoming(isHeard: (host: string) => boolean): Promise<void> {
    const { clock } = this.#base
    if (clock.monotonic() - this.#openedAtMs < max('recordingAbandonedMs')) return
    for await (const { sid, host } of this.#files.untouched(
      clock.now() - max('recordingAbandonedMs'),
    )) {
      if (this.#closed) return
      if (!isHeard(host)) await this.#inTurn(sid, () => this.#abandon(sid, host))
    }
  }

  async #abandon(sid: string, host: string): Promise<void> {
    if ((await this.#index.get(sid)) !== undefined)
      return await rm(this.#files.path(sid, host), { force: true })
    const incoming = await this.#known(sid, host)
    if (incoming === undefined) return
    const { chain } = incoming
    if (!chain.ended) {
      const end = { kind: 'end', atMs: this.#base.clock.now(), reason: ABANDONED } as const
      const { startMs, packed } = packEvents([end])
      await this.#append(incoming, writeChunk(chain.position, 'end', startMs, packed).bytes)
    }
    await this.#seal(incoming)
  }

  async #sweepOld(): Promise<void> {
    const { retentionMs } = this.#settings
    if (retentionMs === undefined) return
    let left = max('recordingSweepMax')
    for await (const recording of this.#index.olderThan(this.#base.clock.now() - retentionMs)) {
      if (this.#closed || left-- === 0) return
      await this.#inTurn(recording.sid, () => this.#remove(recording))
    }
  }

  /** Resolves when each recording of a terminal has its flat file. */
  flattened(): Promise<void> {
    return this.#flats.idle()
  }

  /** Finishes what is being written. */
  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.#turns.values())
    await this.#flats.close()
  }

  #checkRoom(bytes: number): void {
    const full = this.bytes + bytes > this.#settings.bytesMax
    if (full && !this.#full)
      this.#base.log.error('the store of recordings is full: none is taken', { bytes: this.bytes })
    this.#full = full
    if (full)
      throw new ProxyError(
        'recording.store-full',
        'Control’s store of recordings has reached recordings_size_max.',
        { retry: true, next: 'Raise recordings_size_max, or shorten recordings_retention.' },
      )
  }

  async #stateOfSealed(recording: Recording, host: string): Promise<RecordingState> {
    const { sid, serverId, bytes, hash } = recording
    if (serverId !== host) throw conflict('Another host has uploaded a recording of this session.')
    await this.#files.seal(sid, serverId)
    return { bytes, hash, sealed: true }
  }

  /** What is there of a host's recording; undefined: nothing. */
  async #known(sid: string, host: string): Promise<Incoming | undefined> {
    const file = this.#files.path(sid, host)
    const known = this.#incoming.get(file)
    if (known !== undefined) return known
    const read = await this.#readFile(file)
    if (read === undefined) return undefined
    const { chain, told } = read
    // Cut off by a crash before its first chunk.
    if (chain.position.seq === 0) {
      await rm(file)
      return undefined
    }
    chain.dropHeld()
    const incoming = { sid, host, file, chain, told }
    this.#incoming.set(file, incoming)
    return incoming
  }

  async #begin(sid: string, host: string): Promise<Incoming> {
    const file = this.#files.path(sid, host)
    if ((await this.#files.begun(host)) >= max('recordingsOpenMax'))
      throw refused('More than recordingsOpenMax recordings of this host wait for their end.')
    const incoming = { sid, host, file, chain: new RecordingChain(), told: NOTHING_TOLD }
    this.#incoming.set(file, incoming)
    return incoming
  }

  async #append(incoming: Incoming, bytes: Uint8Array): Promise<void> {
    const { chain, file, sid, host } = incoming
    const before = chain.bytes
    const chunks = taken(chain.push(bytes))
    if (chain.held.length > 0 || chunks.length === 0) throw damaged('a piece is no whole chunks')
    const { header } = chain
    const own =
      header?.sid === sid && header.serverId === host && header.cluster === this.#base.cluster
    if (!own) throw damaged('its head names another session, recorder or cluster')
    incoming.told = chunks.reduce(toldBy, incoming.told)
    await this.#files.append(file, before, bytes)
    this.#incomingBytes += bytes.length
  }

  async #seal({ sid, host, file, chain, told }: Incoming): Promise<RecordingState> {
    const recording = recordingOf(sid, chain, told, this.#base.clock.now())
    const { bytes, hash, kind } = recording
    await this.#base.audit('session.upload', 'T2005I', uploadFields(recording))
    // From here on it is sealed: of two hosts that recorded one session the first has it.
    await this.#index.add(recording)
    this.#incoming.delete(file)
    this.#incomingBytes -= bytes
    await this.#files.seal(sid, host)
    if (kind === 'ssh') this.#flats.want(sid)
    return { bytes, hash, sealed: true }
  }

  async #flatten(sid: string): Promise<void> {
    const recording = await this.#index.get(sid)
    if (recording === undefined) return
    const handle = await this.#inTurn(sid, async () => {
      await this.#files.seal(sid, recording.serverId)
      return await this.#files.open(this.#files.path(sid))
    })
    if (handle === undefined) throw notFound(sid)
    const room = Math.max(0, this.#settings.bytesMax - this.bytes)
    const bytesMax = Math.min(room, max('recordingFlatBytesMax'))
    try {
      const bytes = await writeFlat(contents(handle), this.#files.flatPath(sid), bytesMax)
      await this.#index.flattened(recording, bytes)
    } finally {
      await handle.close()
    }
  }

  async #remove(recording: Recording): Promise<void> {
    const { sid, user, target, serverId } = recording
    await this.#base.audit('session.recording.removed', 'SLV003I', {
      sid,
      session_user: user,
      target_name: target,
      server_id: serverId,
      session_stop: isoTime(recording.endedAtMs),
      recorded_bytes: recording.bytes,
    })
    // The files first: what a crash leaves is still listed, and removed by the next sweep.
    await this.#files.remove(sid)
    await this.#index.remove(recording)
  }

  /** Lists files that no record knows: the store was lost, or is of another form. */
  async #adopt(): Promise<void> {
    for (const sid of await this.#files.sealed()) {
      if ((await this.#index.get(sid)) !== undefined) continue
      const read = await this.#readFile(this.#files.path(sid)).catch((error: unknown) => {
        if (errorCode(error) !== 'recording.damaged') throw error
        return undefined
      })
      if (read?.chain.ended !== true || read.chain.header?.sid !== sid) {
        this.#base.log.warn('a file among the recordings is none that is whole', { sid })
        continue
      }
      await this.#index.add(recordingOf(sid, read.chain, read.told, this.#base.clock.now()))
      this.#base.log.info('a recording that was not listed is listed again', { sid })
    }
  }

  /** Up to the first damage; undefined when there is no file. */
  async #readFile(file: string): Promise<{ chain: RecordingChain; told: Told } | undefined> {
    const handle = await this.#files.open(file)
    if (handle === undefined) return undefined
    const chain = new RecordingChain()
    let told = NOTHING_TOLD
    try {
      for await (const bytes of contents(handle))
        told = taken(chain.push(bytes)).reduce(toldBy, told)
    } finally {
      await handle.close()
    }
    return { chain, told }
  }

  #inTurn<T>(sid: string, work: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(sid) ?? Promise.resolve()).then(work)
    const settled = turn
      .catch(() => undefined)
      .finally(() => {
        if (this.#turns.get(sid) === settled) this.#turns.delete(sid)
      })
    this.#turns.set(sid, settled)
    return turn
  }
}

function stateOf({ bytes, position }: RecordingChain): RecordingState {
  return { bytes, hash: bytes === 0 ? '' : position.hash, sealed: false }
}

function taken(chunks: readonly Chunk[] | string): readonly Chunk[] {
  if (typeof chunks === 'string') throw damaged(chunks)
  return chunks
}

function conflict(message: string): ProxyError {
  return new ProxyError('resource.conflict', message, { side: 'client' })
}

function refused(message: string): ProxyError {
  return new ProxyError('limit.exceeded', message, { side: 'client' })
}
