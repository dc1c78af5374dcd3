// An SFTP client over one channel: requests are numbered, answers find their request. At most sftpRequestsMax wait at once; whoever
// wants more waits in line. The end of the channel is the end of every request.

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { OPEN, STATUS, VERSION } from '../../core/ssh/sftp.ts'
import { CommandError } from '../exit.ts'
import { printable } from '../render.ts'
import {
  type Answer,
  type Attributes,
  type Entry,
  Frames,
  readAnswer,
  readVersion,
  type Request,
  statusText,
  violation,
  writeInit,
  writeRequest,
} from './codec.ts'

/** A channel whose subsystem is sftp. */
export interface SftpChannel {
  read(): Promise<{ readonly bytes: Uint8Array; readonly stderr: boolean } | undefined>
  write(bytes: Uint8Array): Promise<void>
}

type Settle = (answer: Answer | ProxyError) => void

export class SftpClient {
  readonly #channel: SftpChannel
  readonly #frames = new Frames()
  readonly #waiting = new Map<number, Settle>()
  readonly #line: (() => void)[] = []
  #taken = 0
  #lastId = 0
  #failure: ProxyError | undefined

  private constructor(channel: SftpChannel) {
    this.#channel = channel
  }

  /** Agrees on the version. */
  static async start(channel: SftpChannel): Promise<SftpClient> {
    const client = new SftpClient(channel)
    await channel.write(writeInit())
    const first = await client.#message()
    if (first === undefined) throw lost()
    const version = readVersion(first)
    if (version < VERSION) throw violation(`it speaks version ${version}, not ${VERSION}`)
    void client.#receive()
    return client
  }

  async open(path: string, how: 'read' | 'write', mode: number): Promise<Uint8Array> {
    const flags = how === 'read' ? OPEN.read : OPEN.write | OPEN.create | OPEN.truncate
    const attributes = how === 'read' ? {} : { mode }
    return handleOf(path, await this.#ask({ kind: 'open', path, flags, attributes }))
  }

  async close(path: string, handle: Uint8Array): Promise<void> {
    done(path, await this.#ask({ kind: 'close', handle }))
  }

  /** Undefined: the end of the file. */
  async read(
    path: string,
    handle: Uint8Array,
    at: number,
    length: number,
  ): Promise<Uint8Array | undefined> {
    const answer = await this.#ask({ kind: 'read', handle, at: BigInt(at), length })
    if (answer.kind === 'status' && answer.code === STATUS.eof) return undefined
    if (answer.kind !== 'data') throw failed(path, answer)
    if (answer.bytes.length > length) throw violation('it answers more than it was asked for')
    return answer.bytes
  }

  async write(path: string, handle: Uint8Array, at: number, bytes: Uint8Array): Promise<void> {
    done(path, await this.#ask({ kind: 'write', handle, at: BigInt(at), bytes }))
  }

  async attributesOf(path: string, handle: Uint8Array): Promise<Attributes> {
    return attributesOf(path, await this.#ask({ kind: 'fstat', handle }))
  }

  async setAttributes(path: string, attributes: Attributes): Promise<void> {
    done(path, await this.#ask({ kind: 'setstat', path, attributes }))
  }

  async setAttributesOf(path: string, handle: Uint8Array, attributes: Attributes): Promise<void> {
    done(path, await this.#ask({ kind: 'fsetstat', handle, attributes }))
  }

  async stat(path: string): Promise<Attributes> {
    return attributesOf(path, await this.#ask({ kind: 'stat', path }))
  }

  /** Undefined: there is no such thing. */
  async find(path: string): Promise<Attributes | undefined> {
    const answer = await this.#ask({ kind: 'stat', path })
    if (answer.kind === 'status' && answer.code === STATUS.noSuchFile) return undefined
    return attributesOf(path, answer)
  }

  async makeFolder(path: string, mode: number): Promise<void> {
    done(path, await this.#ask({ kind: 'mkdir', path, attributes: { mode } }))
  }

  /** What is in a folder, but for itself and the one above. */
  async list(path: string): Promise<readonly Entry[]> {
    const handle = handleOf(path, await this.#ask({ kind: 'opendir', path }))
    const entries: Entry[] = []
    try {
      for (;;) {
        const answer = await this.#ask({ kind: 'readdir', handle })
        if (answer.kind === 'status' && answer.code === STATUS.eof) return entries
        if (answer.kind !== 'name') throw failed(path, answer)
        // A server that answers with nothing for ever must end somewhere.
        if (answer.entries.length === 0) throw violation('it lists a folder without an end')
        entries.push(...answer.entries.filter(({ name }) => name !== '.' && name !== '..').map(own))
        if (entries.length > max('sftpNamesMax'))
          throw new CommandError(`${printable(path)} has more entries than sftpNamesMax`)
      }
    } finally {
      await this.#ask({ kind: 'close', handle })
    }
  }

  async #ask(request: Request): Promise<Answer> {
    await this.#turn()
    try {
      if (this.#failure !== undefined) throw this.#failure
      this.#lastId = (this.#lastId + 1) >>> 0
      const id = this.#lastId
      const { promise, resolve } = Promise.withResolvers<Answer | ProxyError>()
      this.#waiting.set(id, resolve)
      await this.#channel.write(writeRequest(id, request))
      const answer = await promise
      if (answer instanceof ProxyError) throw answer
      return answer
    } finally {
      this.#taken -= 1
      this.#line.shift()?.()
    }
  }

  async #turn(): Promise<void> {
    while (this.#taken >= max('sftpRequestsMax'))
      await new Promise<void>((resolve) => this.#line.push(resolve))
    this.#taken += 1
  }

  /** Gives answers to those who wait, until the channel ends or cannot be understood. */
  async #receive(): Promise<void> {
    try {
      for (;;) {
        const message = await this.#message()
        if (message === undefined) throw lost()
        const { id, answer } = readAnswer(message)
        const settle = this.#waiting.get(id)
        if (settle === undefined) throw violation('it answers what was not asked')
        this.#waiting.delete(id)
        settle(answer)
      }
    } catch (error) {
      this.#failure = error instanceof ProxyError ? error : lost()
      for (const settle of this.#waiting.values()) settle(this.#failure)
      this.#waiting.clear()
    }
  }

  async #message(): Promise<Uint8Array | undefined> {
    for (;;) {
      const message = this.#frames.next()
      if (message !== undefined) return message
      const data = await this.#channel.read()
      if (data === undefined) return undefined
      if (!data.stderr) this.#frames.push(data.bytes)
    }
  }
}

/** A name that would lead out of its folder is none: a hostile server must not choose where we write. */
function own({ name, attributes }: Entry): Entry {
  const bad = name === undefined || name === '' || /[/\0]/.test(name)
  return { name: bad ? undefined : name, attributes }
}

function handleOf(path: string, answer: Answer): Uint8Array {
  if (answer.kind !== 'handle') throw failed(path, answer)
  // It outlives the chunk it came in.
  return Buffer.from(answer.handle)
}

function attributesOf(path: string, answer: Answer): Attributes {
  if (answer.kind !== 'attrs') throw failed(path, answer)
  return answer.attributes
}

function done(path: string, answer: Answer): void {
  if (answer.kind !== 'status' || answer.code !== STATUS.ok) throw failed(path, answer)
}

function failed(path: string, answer: Answer): Error {
  if (answer.kind !== 'status') return violation(`${answer.kind} is no answer to this`)
  const why = printable(statusText(answer.code, answer.text))
  return new CommandError(`${printable(path)}: ${why}`)
}

function lost(): ProxyError {
  return new ProxyError('dial.failed', 'The connection to the node was lost while copying.', {
    side: 'target',
  })
}
