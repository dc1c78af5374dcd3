// SFTP messages (draft-ietf-secsh-filexfer-02): requests to bytes, bytes to answers. Incremental and bounded: a length is checked
// before anything of its message is kept. Pure.

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import { SshReader, string, u32, u64 } from '../../core/ssh/bytes.ts'
import { ATTRIBUTE, MODE, REQUEST, RESPONSE, STATUS, VERSION } from '../../core/ssh/sftp.ts'

/** Undefined: the server did not say. Times in seconds. */
export interface Attributes {
  readonly size?: bigint
  readonly mode?: number
  readonly accessed?: number
  readonly modified?: number
}

export interface Entry {
  /** Undefined: it is no UTF-8, or no name within a folder. */
  readonly name: string | undefined
  readonly attributes: Attributes
}

export type Answer =
  | { readonly kind: 'status'; readonly code: number; readonly text: string }
  | { readonly kind: 'handle'; readonly handle: Uint8Array }
  | { readonly kind: 'data'; readonly bytes: Uint8Array }
  | { readonly kind: 'name'; readonly entries: readonly Entry[] }
  | { readonly kind: 'attrs'; readonly attributes: Attributes }

export type Request =
  | {
      readonly kind: 'open'
      readonly path: string
      readonly flags: number
      readonly attributes: Attributes
    }
  | {
      readonly kind: 'read'
      readonly handle: Uint8Array
      readonly at: bigint
      readonly length: number
    }
  | {
      readonly kind: 'write'
      readonly handle: Uint8Array
      readonly at: bigint
      readonly bytes: Uint8Array
    }
  | { readonly kind: 'close' | 'fstat' | 'readdir'; readonly handle: Uint8Array }
  | { readonly kind: 'fsetstat'; readonly handle: Uint8Array; readonly attributes: Attributes }
  | { readonly kind: 'stat' | 'lstat' | 'opendir' | 'realpath'; readonly path: string }
  | { readonly kind: 'mkdir' | 'setstat'; readonly path: string; readonly attributes: Attributes }

/** The first message: which version we speak. */
export function writeInit(): Uint8Array {
  return frame(Uint8Array.of(REQUEST.init), u32(VERSION))
}

export function writeRequest(id: number, request: Request): Uint8Array {
  return frame(Uint8Array.of(REQUEST[request.kind]), u32(id), ...fieldsOf(request))
}

function fieldsOf(request: Request): readonly Uint8Array[] {
  switch (request.kind) {
    case 'open':
      return [string(request.path), u32(request.flags), writeAttributes(request.attributes)]
    case 'read':
      return [string(request.handle), u64(request.at), u32(request.length)]
    case 'write':
      return [string(request.handle), u64(request.at), string(request.bytes)]
    case 'close':
    case 'fstat':
    case 'readdir':
      return [string(request.handle)]
    case 'fsetstat':
      return [string(request.handle), writeAttributes(request.attributes)]
    case 'stat':
    case 'lstat':
    case 'opendir':
    case 'realpath':
      return [string(request.path)]
    case 'mkdir':
    case 'setstat':
      return [string(request.path), writeAttributes(request.attributes)]
  }
}

/** Messages out of chunks. A message is a view where it lies in one chunk. */
export class Frames {
  #chunks: Uint8Array[] = []
  #held = 0

  push(chunk: Uint8Array): void {
    this.#chunks.push(chunk)
    this.#held += chunk.length
  }

  /** The next message without its length; undefined: more bytes are needed. Throws when it is longer than it may be. */
  next(): Uint8Array | undefined {
    const head = this.#held < 4 ? undefined : this.#peek(4)
    if (head === undefined) return undefined
    const length = new SshReader(head).u32()
    if (length > max('sftpPacketBytesMax'))
      throw violation('a message is longer than sftpPacketBytesMax')
    if (this.#held < 4 + length) return undefined
    return this.#take(4 + length).subarray(4)
  }

  #peek(count: number): Uint8Array {
    const [first] = this.#chunks
    if (first !== undefined && first.length >= count) return first.subarray(0, count)
    this.#chunks = [Buffer.concat(this.#chunks)]
    return this.#peek(count)
  }

  #take(count: number): Uint8Array {
    const whole = this.#peek(count)
    const rest = this.#chunks[0]?.subarray(count) ?? Uint8Array.of()
    this.#chunks.splice(0, 1, ...(rest.length === 0 ? [] : [rest]))
    this.#held -= count
    return whole
  }
}

/** The server's version. Throws when the message is none. */
export function readVersion(message: Uint8Array): number {
  const reader = new SshReader(message)
  return understood(() => {
    if (reader.u8() !== RESPONSE.version) throw violation('it does not begin with its version')
    return reader.u32()
  })
}

/** What a request is answered with, and which. */
export function readAnswer(message: Uint8Array): { id: number; answer: Answer } {
  const reader = new SshReader(message)
  return understood(() => {
    const type = reader.u8()
    return { id: reader.u32(), answer: readBody(type, reader) }
  })
}

function readBody(type: number, reader: SshReader): Answer {
  switch (type) {
    case RESPONSE.status: {
      const code = reader.u32()
      // Servers older than version 3 leave the text out.
      return { kind: 'status', code, text: reader.done ? '' : lossy(reader.string()) }
    }
    case RESPONSE.handle:
      return { kind: 'handle', handle: reader.string() }
    case RESPONSE.data:
      return { kind: 'data', bytes: reader.string() }
    case RESPONSE.name:
      return { kind: 'name', entries: readEntries(reader) }
    case RESPONSE.attrs:
      return { kind: 'attrs', attributes: readAttributes(reader) }
    default:
      throw violation(`message ${type} is no answer`)
  }
}

function readEntries(reader: SshReader): readonly Entry[] {
  const entries: Entry[] = []
  // The count is believed only as far as the bytes go.
  for (let left = reader.u32(); left > 0; left--) {
    const name = strict(reader.string())
    reader.string()
    entries.push({ name, attributes: readAttributes(reader) })
  }
  return entries
}

function readAttributes(reader: SshReader): Attributes {
  const flags = reader.u32()
  const size = flags & ATTRIBUTE.size ? { size: reader.u64() } : {}
  if (flags & ATTRIBUTE.ids) reader.u64()
  const mode = flags & ATTRIBUTE.permissions ? { mode: reader.u32() } : {}
  const times = flags & ATTRIBUTE.times ? { accessed: reader.u32(), modified: reader.u32() } : {}
  if (flags & ATTRIBUTE.extended)
    for (let left = reader.u32(); left > 0; left--) {
      reader.string()
      reader.string()
    }
  return { ...size, ...mode, ...times }
}

function writeAttributes({ mode, accessed, modified }: Attributes): Uint8Array {
  const times =
    accessed === undefined || modified === undefined ? [] : [u32(accessed), u32(modified)]
  const flags =
    (mode === undefined ? 0 : ATTRIBUTE.permissions) | (times.length > 0 ? ATTRIBUTE.times : 0)
  return Buffer.concat([u32(flags), ...(mode === undefined ? [] : [u32(mode)]), ...times])
}

export function isFolder({ mode }: Attributes): boolean {
  return mode !== undefined && (mode & MODE.type) === MODE.folder
}

/** Whether it is a plain file; of one whose server does not say, it is assumed. */
export function isFile({ mode }: Attributes): boolean {
  return mode === undefined || (mode & MODE.type) === MODE.file
}

export function statusText(code: number, text: string): string {
  if (code === STATUS.noSuchFile) return 'no such file'
  if (code === STATUS.permissionDenied) return 'permission denied'
  return text === '' ? `SFTP status ${code}` : text
}

function frame(...fields: readonly Uint8Array[]): Uint8Array {
  const body = Buffer.concat(fields)
  return Buffer.concat([u32(body.length), body])
}

function understood<T>(read: () => T): T {
  try {
    return read()
  } catch (cause) {
    if (cause instanceof ProxyError && cause.code === 'protocol.violation') throw cause
    throw violation('a message is malformed', cause)
  }
}

export function violation(what: string, cause?: unknown): ProxyError {
  return new ProxyError('protocol.violation', `The SFTP server cannot be understood: ${what}.`, {
    side: 'target',
    ...(cause === undefined ? {} : { cause }),
  })
}

function lossy(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8')
}

function strict(bytes: Uint8Array): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    return undefined
  }
}
