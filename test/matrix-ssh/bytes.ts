// Files of random bytes and what they hash to: how the cells know that what arrived is what was sent.

import { createHash, randomBytes } from 'node:crypto'
import { createReadStream } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'

/** Writes a new file; returns its digest. Everybody may read it. */
export async function randomFile(path: string, bytes: number): Promise<string> {
  await writeFile(path, randomBytes(bytes))
  return await digestOf(path)
}

export async function digestOf(path: string): Promise<string> {
  const hash = createHash('sha256')
  await pipeline(createReadStream(path), hash)
  return hash.digest('hex')
}
