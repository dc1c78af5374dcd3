// The recordings that agents and proxies upload: taken over piece by piece, each piece whole chunks that follow what is here, on disk
// before it is acknowledged. What a host uploads lies in a folder of its own until its end seals it; then it is told to the log, listed,
// and never written again. Believes what a recording says of its session no more than the host that recorded it.

import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm } from 'node:fs/promises'
import path from 'node:path'

import { ProxyError } from '../core/errors.ts'
import type { SystemIdentity } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import { RecordingChain } from '../core/recording/chain.ts'
import { type Chunk, damaged } from '../core/recording/format.ts'
import { recordingName } from '../core/recording/name.ts'
import type { CallContext } from './api/handler.ts'
import type {
  Recording,
  RecordingPiece,
  RecordingQuery,
  RecordingState,
} from './api/recording-messages.ts'
import { syncFolder } from './audit/files.ts'
import { type Base, parseStored, readStored } from './base.ts'
import { writeFlat } from './recording-flat.ts'
import { NOTHING_TOLD, type Told, toldBy } from './recording-told.ts'
import { recordingKey, type RecordingRecord, RECORDINGS, recordingSchema } from './records.ts'

const { O_CREAT, O_NOFOLLOW, O_RDONLY, O_WRONLY } = constants
const READ_BYTES = 256 * 1024
const HOST_ID = /^[A-Za-z0-9_-]{1,64}$/

/** One that is being taken over: what is durable of it. */
interface Incoming {
  readonly sid: string
  readonly file: string
  readonly chain: RecordingChain
  told: Told
}

export class Recordings {
  readonly #base: Base
  readonly #folder: string
  /** By file. Read from disk when a host goes on with one after a restart. */
  readonly #incoming = new Map<string, Incoming>()
  /** Work on one session's recordings is done one after the other. */
  readonly #turns = new Map<string, Promise<unknown>>()

  constructor(base: Base, folder: string) {
    this.#base = base
    this.#folder = folder
  }

  /** Where the caller goes on with its recording of this session. */
  state(sid: string, { id }: SystemIdentity): Promise<RecordingState> {
    return this.#inTurn(sid, async () => {
      const sealed = await this.#sealed(sid)
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
      if ((await this.#sealed(sid)) !== undefined)
        throw conflict('This recording is sealed; nothing is added to it.')
      const incoming = (await this.#known(sid, id)) ?? (await this.#begin(sid, id))
      const { chain } = incoming
      if (offset !== chain.bytes)
        throw conflict(`The recording goes on at ${chain.bytes}, not at ${offset}.`)
      if (chain.bytes + bytes.length > max('recordingBytesMax'))
        throw refused('The recording is longer than recordingBytesMax.')
      try {
        await this.#append(incoming, bytes, id)
      } catch (error) {
        // The chain may be ahead of the file: it is read again.
        this.#incoming.delete(incoming.file)
        throw error
      }
      return chain.ended ? await this.#seal(incoming) : stateOf(chain)
    })
  }

  /** Newest first. */
  async list(query: RecordingQuery): Promise<readonly Recording[]> {
    const { fromMs = 0, toMs = Number.MAX_SAFE_INTEGER, limit = max('apiPageMax') } = query
    let newest: readonly RecordingRecord[] = []
    let after: string | undefined
    do {
      const from = after === undefined ? {} : { after }
      const page = await this.#base.store.range({ prefix: RECORDINGS, ...from })
      const found = page.items
        .map(({ key, value }) => parseStored(value, recordingSchema, key))
        .filter(({ startedAtMs, endedAtMs }) => endedAtMs >= fromMs && startedAtMs <= toMs)
      // What nobody is shown need not be held.
      newest = [...newest, ...found]
        .sort((a, b) => b.startedAtMs - a.startedAtMs)
        .slice(0, Math.min(limit, max('apiPageMax')))
      after = page.next
    } while (after !== undefined)
    return newest
  }

  /** The file, piece by piece. Who reads it is told to the log first. */
  async *read(sid: string, context: CallContext): AsyncGenerator<RecordingPiece, undefined> {
    const record = await this.#sealed(sid)
    if (record === undefined) throw notFound(sid)
    await context.audit('session.recording.access', 'T2012I', {
      sid,
      session_user: record.user,
      target_name: record.target,
    })
    const handle = await this.#inTurn(sid, async () => {
      await this.#settle(record)
      return await open(this.#path(sid), O_RDONLY | O_NOFOLLOW)
    })
    try {
      for await (const bytes of contents(handle))
        yield { data: Buffer.from(bytes).toString('base64') }
    } finally {
      await handle.close()
    }
  }

  /** Finishes what is being written. */
  async close(): Promise<void> {
    await Promise.all(this.#turns.values())
  }

  async #stateOfSealed(record: RecordingRecord, host: string): Promise<RecordingState> {
    if (record.serverId !== host)
      throw conflict('Another host has uploaded a recording of this session.')
    await this.#settle(record)
    return { bytes: record.bytes, hash: record.hash, sealed: true }
  }

  /** What is there of a host's recording; undefined: nothing. */
  async #known(sid: string, host: string): Promise<Incoming | undefined> {
    const file = this.#path(sid, host)
    const known = this.#incoming.get(file)
    if (known !== undefined) return known
    const handle = await open(file, O_RDONLY | O_NOFOLLOW).catch(absent)
    if (handle === undefined) return undefined
    const chain = new RecordingChain()
    let told = NOTHING_TOLD
    try {
      for await (const bytes of contents(handle))
        told = taken(chain.push(bytes)).reduce(toldBy, told)
    } finally {
      await handle.close()
    }
    // Cut off by a crash before its first chunk.
    if (chain.position.seq === 0) {
      await rm(file)
      return undefined
    }
    chain.dropHeld()
    const incoming = { sid, file, chain, told }
    this.#incoming.set(file, incoming)
    return incoming
  }

  async #begin(sid: string, host: string): Promise<Incoming> {
    const file = this.#path(sid, host)
    const folder = path.dirname(file)
    await mkdir(folder, { recursive: true, mode: 0o700 })
    if ((await readdir(folder)).length >= max('recordingsOpenMax'))
      throw refused('More than recordingsOpenMax recordings of this host wait for their end.')
    const incoming = { sid, file, chain: new RecordingChain(), told: NOTHING_TOLD }
    this.#incoming.set(file, incoming)
    return incoming
  }

  async #append(incoming: Incoming, bytes: Uint8Array, host: string): Promise<void> {
    const { chain, file, sid } = incoming
    const before = chain.bytes
    const chunks = taken(chain.push(bytes))
    if (chain.held.length > 0 || chunks.length === 0) throw damaged('a piece is no whole chunks')
    const { header } = chain
    const own =
      header?.sid === sid && header.serverId === host && header.cluster === this.#base.cluster
    if (!own) throw damaged('its head names another session, recorder or cluster')
    incoming.told = chunks.reduce(toldBy, incoming.told)
    const handle = await open(file, O_WRONLY | O_CREAT | O_NOFOLLOW, 0o600)
    try {
      // What a crash left behind the last whole chunk.
      await handle.truncate(before)
      for (let at = 0; at < bytes.length; )
        at += (await handle.write(bytes, at, bytes.length - at, before + at)).bytesWritten
      await handle.datasync()
    } finally {
      await handle.close()
    }
    if (before === 0) await syncFolder(path.dirname(file))
  }

  async #seal({ sid, file, chain, told }: Incoming): Promise<RecordingState> {
    const { header, position, bytes } = chain
    if (header === undefined) throw damaged('it has no head')
    const { kind, startedAtMs, serverId } = header
    const { seq: chunks, hash } = position
    const record: RecordingRecord = {
      ...told,
      sid,
      kind,
      serverId,
      startedAtMs,
      bytes,
      chunks,
      hash,
    }
    await this.#base.audit('session.upload', 'T2005I', {
      sid,
      server_id: serverId,
      user: told.user,
      recorded_kind: kind,
      target_name: told.target,
      session_start: isoTime(startedAtMs),
      session_stop: isoTime(told.endedAtMs),
      reason: told.reason,
      chunks,
      chunk_hash: hash,
      recorded_bytes: bytes,
    })
    // From here on it is sealed: of two hosts that recorded one session the first has it.
    await this.#base.store.create(recordingKey(sid), JSON.stringify(record))
    this.#incoming.delete(file)
    await this.#settle(record)
    return { bytes, hash, sealed: true }
  }

  /** Moves a sealed one to its place; a crash may have come between. */
  async #settle({ sid, serverId, kind }: RecordingRecord): Promise<void> {
    const moved = await rename(this.#path(sid, serverId), this.#path(sid))
      .then(() => true)
      .catch(absent)
    if (moved !== true) return
    if (kind === 'ssh') await this.#flatten(sid)
    await syncFolder(this.#folder)
  }

  /** The recording is what counts: without its flat file it is as whole as with it. */
  async #flatten(sid: string): Promise<void> {
    const file = this.#path(sid)
    const handle = await open(file, O_RDONLY | O_NOFOLLOW)
    try {
      await writeFlat(contents(handle), file.replace(/\.rec$/, '.txt'))
    } catch (error) {
      this.#base.log.warn('a recording has no flat file', { sid, error: String(error) })
    } finally {
      await handle.close()
    }
  }

  async #sealed(sid: string): Promise<RecordingRecord | undefined> {
    return (await readStored(this.#base.store, recordingKey(sid), recordingSchema))?.value
  }

  /** Of a sealed one, or of what a host uploads. */
  #path(sid: string, host?: string): string {
    const name = recordingName(sid)
    if (name === undefined || (host !== undefined && !HOST_ID.test(host))) throw notFound(sid)
    return host === undefined
      ? path.join(this.#folder, name)
      : path.join(this.#folder, 'incoming', host, name)
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

async function* contents(handle: FileHandle): AsyncGenerator<Uint8Array, undefined> {
  for (let at = 0; ; ) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, at)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    at += bytesRead
  }
}

function absent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}

function isoTime(ms: number): string {
  return new Date(ms).toISOString()
}

function notFound(sid: string): ProxyError {
  const message = `There is no recording of a session "${sid}".`
  return new ProxyError('resource.not-found', message, { side: 'client' })
}

function conflict(message: string): ProxyError {
  return new ProxyError('resource.conflict', message, { side: 'client' })
}

function refused(message: string): ProxyError {
  return new ProxyError('limit.exceeded', message, { side: 'client' })
}
