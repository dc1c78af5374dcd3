// Where control keeps recordings: sealed ones beside their flat files, and in a folder per host what that host is uploading. Names are made
// of ids that were judged, and no link is followed.

import { constants } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'

import { ProxyError } from '../core/errors.ts'
import { recordingName, sidOfName } from '../core/recording/name.ts'
import { syncFolder } from './audit/files.ts'

const { O_CREAT, O_DSYNC, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY } = constants
const READ_BYTES = 256 * 1024
const HOST_ID = /^[A-Za-z0-9_-]{1,64}$/

export class RecordingFiles {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** Of a sealed one, or of what a host uploads. */
  path(sid: string, host?: string): string {
    const name = recordingName(sid)
    if (name === undefined || (host !== undefined && !HOST_ID.test(host))) throw notFound(sid)
    return host === undefined
      ? path.join(this.#folder, name)
      : path.join(this.#folder, 'incoming', host, name)
  }

  flatPath(sid: string): string {
    return this.path(sid).replace(/\.rec$/, '.txt')
  }

  /** Recordings that a host has begun to upload. Makes its folder. */
  async begun(host: string): Promise<number> {
    const folder = path.join(this.#folder, 'incoming', host)
    const begun = await readdir(folder).catch(absent)
    if (begun === undefined) await mkdir(folder, { recursive: true, mode: 0o700 })
    return begun?.length ?? 0
  }

  /** Bytes of everything that is being uploaded. */
  async incomingBytes(): Promise<number> {
    let bytes = 0
    const incoming = path.join(this.#folder, 'incoming')
    for (const host of await names(incoming))
      for (const name of await names(path.join(incoming, host)))
        bytes += (await stat(path.join(incoming, host, name)).catch(absent))?.size ?? 0
    return bytes
  }

  /** What was begun and not added to since. */
  async *untouched(beforeMs: number): AsyncGenerator<{ sid: string; host: string }, undefined> {
    const incoming = path.join(this.#folder, 'incoming')
    for (const host of await names(incoming))
      for (const name of await names(path.join(incoming, host))) {
        const sid = sidOfName(name)
        const found = await stat(path.join(incoming, host, name)).catch(absent)
        if (sid !== undefined && found !== undefined && found.mtimeMs < beforeMs)
          yield { sid, host }
      }
  }

  /** Of all files that are named as sealed recordings. */
  async sealed(): Promise<readonly string[]> {
    return (await names(this.#folder)).flatMap((name) => sidOfName(name) ?? [])
  }

  /** Undefined when there is none. */
  async open(file: string): Promise<FileHandle | undefined> {
    return await open(file, O_RDONLY | O_NOFOLLOW).catch(absent)
  }

  /** Writes behind `length`, over what a crash left there, and waits for the disk. */
  async append(file: string, length: number, bytes: Uint8Array): Promise<void> {
    // O_DSYNC: a write returns when it is durable.
    const flags = O_WRONLY | O_CREAT | O_NOFOLLOW | O_DSYNC | (length === 0 ? O_TRUNC : 0)
    const handle = await open(file, flags, 0o600)
    try {
      if (length > 0) await handle.truncate(length)
      for (let at = 0; at < bytes.length; )
        at += (await handle.write(bytes, at, bytes.length - at, length + at)).bytesWritten
    } finally {
      await handle.close()
    }
    if (length === 0) await syncFolder(path.dirname(file))
  }

  /** To its place. It may be there: a crash may have come behind the move. */
  async seal(sid: string, host: string): Promise<void> {
    const moved = await rename(this.path(sid, host), this.path(sid))
      .then(() => true)
      .catch(absent)
    if (moved === true) await syncFolder(this.#folder)
  }

  /** With its flat file. */
  async remove(sid: string): Promise<void> {
    await rm(this.flatPath(sid), { force: true })
    await rm(this.path(sid), { force: true })
  }
}

export async function* contents(handle: FileHandle): AsyncGenerator<Uint8Array, undefined> {
  for (let at = 0; ; ) {
    const { bytesRead, buffer } = await handle.read(Buffer.alloc(READ_BYTES), 0, READ_BYTES, at)
    if (bytesRead === 0) return
    yield buffer.subarray(0, bytesRead)
    at += bytesRead
  }
}

export function notFound(sid: string): ProxyError {
  const message = `There is no recording of a session "${sid}".`
  return new ProxyError('resource.not-found', message, { side: 'client' })
}

async function names(folder: string): Promise<readonly string[]> {
  return (await readdir(folder).catch(absent)) ?? []
}

function absent(error: unknown): undefined {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
  throw error
}
