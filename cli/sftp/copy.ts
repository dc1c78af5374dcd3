// What `tsh scp` does with its files: sources into a target, folders with -r. What cannot be copied is named and counted, and the rest
// goes on; a lost connection ends it. A server's names never lead out of the folder they are in (client.ts), and nothing it says makes a file
// here more than what its permissions for owner, group and others are.

import { chmod, mkdir, open, readdir, stat, utimes } from 'node:fs/promises'
import path from 'node:path'

import { max } from '../../core/limits.ts'
import { MODE } from '../../core/ssh/sftp.ts'
import { CommandError, errorText } from '../exit.ts'
import { printable } from '../render.ts'
import type { SftpClient } from './client.ts'
import { type Attributes, isFile, isFolder } from './codec.ts'
import { patternOf } from './place.ts'
import { download, upload } from './transfer.ts'

export interface CopyOptions {
  readonly recursive: boolean
  /** Permissions and times too. */
  readonly preserve: boolean
  /** What could not be copied, in a sentence. */
  readonly failed: (text: string) => void
  readonly progress?: {
    begin(name: string, size: number): void
    moved(bytes: number): void
    end(): void
  }
}

export class Copy {
  readonly #client: SftpClient
  readonly #options: CopyOptions
  /** What could not be copied. */
  failures = 0

  constructor(client: SftpClient, options: CopyOptions) {
    this.#client = client
    this.#options = options
  }

  async fromNode(sources: readonly string[], target: string): Promise<void> {
    const found = (await Promise.all(sources.map((each) => this.#expand(each)))).flat()
    const into = (await hereIs(target))?.isDirectory() === true
    if (found.length > 1 && !into) throw notFolder(target)
    for (const source of found)
      await this.#attempt(source, async () => {
        const to = into ? path.join(target, baseOf(source)) : target
        await this.#fetch(source, to, await this.#client.stat(source), 0)
      })
  }

  async toNode(sources: readonly string[], target: string): Promise<void> {
    const there = await this.#client.find(target)
    const into = there !== undefined && isFolder(there)
    if (sources.length > 1 && !into) throw notFolder(target)
    for (const source of sources)
      await this.#attempt(source, async () => {
        const to = into ? joinThere(target, path.basename(path.resolve(source))) : target
        await this.#send(source, to, 0)
      })
  }

  /** A path that is there means itself, whatever characters it has. */
  async #expand(source: string): Promise<readonly string[]> {
    const pattern = patternOf(source)
    if (pattern === undefined || (await this.#client.find(source)) !== undefined) return [source]
    const entries = await this.#client.list(pattern.folder)
    const names = entries.flatMap(({ name }) => (name === undefined ? [] : [name]))
    const found = names.filter(pattern.means).sort()
    if (found.length === 0) throw new CommandError(`${printable(source)}: nothing matches`)
    return found.map((name) => joinThere(pattern.folder, name))
  }

  async #fetch(from: string, to: string, attributes: Attributes, depth: number): Promise<void> {
    if (isFolder(attributes)) return await this.#fetchFolder(from, to, attributes, depth)
    if (!isFile(attributes)) throw new CommandError(`${printable(from)}: it is no regular file`)
    const size = sizeOf(from, attributes)
    const mode = (attributes.mode ?? 0o644) & MODE.bits
    const handle = await this.#client.open(from, 'read', 0)
    try {
      const local = await open(to, 'w', mode)
      try {
        this.#options.progress?.begin(baseOf(from), size)
        const moved = (bytes: number): void => this.#options.progress?.moved(bytes)
        await download({ client: this.#client, path: from, handle }, local, size, moved)
        if (this.#options.preserve) {
          await local.chmod(mode)
          const { accessed, modified } = attributes
          if (accessed !== undefined && modified !== undefined)
            await local.utimes(accessed, modified)
        }
        this.#options.progress?.end()
      } finally {
        await local.close()
      }
    } finally {
      await this.#client.close(from, handle)
    }
  }

  async #fetchFolder(
    from: string,
    to: string,
    attributes: Attributes,
    depth: number,
  ): Promise<void> {
    this.#enter(from, depth)
    const mode = (attributes.mode ?? 0o755) & MODE.bits
    // Ours to write into, whatever it will be in the end.
    if ((await hereIs(to)) === undefined) await mkdir(to, { mode: mode | 0o700 })
    for (const { name, attributes: known } of await this.#client.list(from)) {
      if (name === undefined) {
        this.#fail(`${printable(from)}: it holds a name that cannot be written here`)
        continue
      }
      const source = joinThere(from, name)
      await this.#attempt(source, async () => {
        // Listings tell of links, not of what they lead to.
        const real =
          isFile(known) && known.mode !== undefined ? known : await this.#client.stat(source)
        await this.#fetch(source, path.join(to, name), real, depth + 1)
      })
    }
    if (!this.#options.preserve) return
    await chmod(to, mode)
    const { accessed, modified } = attributes
    if (accessed !== undefined && modified !== undefined) await utimes(to, accessed, modified)
  }

  async #send(from: string, to: string, depth: number): Promise<void> {
    const facts = await stat(from)
    const mode = facts.mode & MODE.bits
    const times = {
      accessed: Math.floor(facts.atimeMs / 1000),
      modified: Math.floor(facts.mtimeMs / 1000),
    }
    if (facts.isDirectory()) {
      this.#enter(from, depth)
      if ((await this.#client.find(to)) === undefined)
        await this.#client.makeFolder(to, mode | 0o700)
      for (const name of await readdir(from))
        await this.#attempt(path.join(from, name), () =>
          this.#send(path.join(from, name), joinThere(to, name), depth + 1),
        )
      if (this.#options.preserve) await this.#client.setAttributes(to, { mode, ...times })
      return
    }
    if (!facts.isFile()) throw new CommandError(`${printable(from)}: it is no regular file`)
    await this.#sendFile(from, to, facts.size, { mode, ...times })
  }

  async #sendFile(
    from: string,
    to: string,
    size: number,
    attributes: Attributes & { readonly mode: number },
  ): Promise<void> {
    const local = await open(from, 'r')
    try {
      const handle = await this.#client.open(to, 'write', attributes.mode)
      try {
        this.#options.progress?.begin(path.basename(from), size)
        const moved = (bytes: number): void => this.#options.progress?.moved(bytes)
        await upload(local, { client: this.#client, path: to, handle }, size, moved)
        if (this.#options.preserve) await this.#client.setAttributesOf(to, handle, attributes)
        this.#options.progress?.end()
      } finally {
        await this.#client.close(to, handle)
      }
    } finally {
      await local.close()
    }
  }

  #enter(folder: string, depth: number): void {
    if (!this.#options.recursive)
      throw new CommandError(`${printable(folder)}: it is a folder; -r copies folders`)
    if (depth >= max('sftpDepthMax'))
      throw new CommandError(`${printable(folder)}: it is deeper than sftpDepthMax folders`)
  }

  /** What is about one file is told, and the others go on. */
  async #attempt(source: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (error instanceof CommandError) this.#fail(error.message)
      else if (error instanceof Error && 'syscall' in error)
        this.#fail(`${printable(source)}: ${error.message}`)
      else throw error
    }
  }

  #fail(text: string): void {
    this.failures += 1
    this.#options.failed(errorText(new CommandError(text)))
  }
}

async function hereIs(target: string): Promise<Awaited<ReturnType<typeof stat>> | undefined> {
  try {
    return await stat(target)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined
    throw error
  }
}

function sizeOf(source: string, { size = 0n }: Attributes): number {
  if (size <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(size)
  throw new CommandError(`${printable(source)}: its size is no size of a file`)
}

function joinThere(folder: string, name: string): string {
  return folder === '.' ? name : `${folder.replace(/\/$/, '')}/${name}`
}

/** The last part of a path there; `.` and `..` have no name, and would be a place we did not choose. */
function baseOf(source: string): string {
  const name = source.replace(/\/+$/, '').split('/').at(-1) ?? ''
  if (name !== '' && name !== '.' && name !== '..') return name
  throw new CommandError(`${printable(source)}: name the folder, so that the copy has a name`)
}

function notFolder(target: string): CommandError {
  return new CommandError(`${printable(target)}: several sources want a folder to go to`)
}
