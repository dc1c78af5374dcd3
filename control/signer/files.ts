// Files of the signer's folder. Written once: under a temporary name, to the disk, then linked to the real one, which fails
// when something is there. Read bounded, never through a symbolic link, and private ones only when they are private.

import { randomBytes } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, link, open, unlink } from 'node:fs/promises'
import path from 'node:path'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'

/** The file is whole and on disk when this resolves, or not there at all. Rejects when the name is taken. */
export async function writeNew(file: string, bytes: Uint8Array, mode: number): Promise<void> {
  const folder = path.dirname(file)
  const temporary = path.join(folder, `.new-${randomBytes(8).toString('hex')}`)
  const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW
  await writeThrough(await open(temporary, flags, mode), bytes)
  try {
    // rename would replace a key that another start made meanwhile.
    await link(temporary, file)
  } finally {
    await unlink(temporary)
  }
  await syncFolder(folder)
}

/** The file's bytes; undefined when there is none. Throws when others may read it. */
export async function readPrivate(
  file: string,
  bytesMax: number = max('keyFileBytesMax'),
): Promise<Buffer | undefined> {
  return read(file, bytesMax, 0o077)
}

/** The same for files that hold nothing secret but must not be written by others. */
export async function readPublic(file: string): Promise<Buffer | undefined> {
  return read(file, max('keyFileBytesMax'), 0o022)
}

async function writeThrough(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  try {
    await handle.writeFile(bytes)
    await handle.sync()
  } finally {
    await handle.close()
  }
}

async function read(file: string, bytesMax: number, closed: number): Promise<Buffer | undefined> {
  const handle = await openExisting(file)
  if (handle === undefined) return undefined
  try {
    const { mode, size } = await handle.stat()
    if ((mode & closed) !== 0)
      throw new ProxyError('signer.unavailable', `${file} is open to other users.`, {
        next: `chmod go-rwx ${file}`,
      })
    if (size > bytesMax)
      throw new ProxyError('signer.unavailable', `${file} is longer than ${bytesMax} bytes.`)
    return await handle.readFile()
  } finally {
    await handle.close()
  }
}

async function openExisting(file: string): Promise<FileHandle | undefined> {
  try {
    return await open(file, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
