// Makes audit events of both directions of an SFTP session: what was asked, of which path, what came of it; of open files how much was read
// and written. Pure and bounded. An event is reported before the answer passes that completes it. What cannot be attributed (an answer
// nobody waits for, a handle that is given twice, more than its limits) is a fault: the bytes must not pass, and the session ends.

import type { AuditFields } from '../../core/protocol.ts'
import { max } from '../../core/limits.ts'
import { SshReader } from '../../core/ssh/bytes.ts'
import { REQUEST, RESPONSE, STATUS, STATUS_NAMES, VERSION } from '../../core/ssh/sftp.ts'
import { SftpFrames } from './sftp-frames.ts'
import { handleOf, readRequest, requestHead, type SftpRequest } from './sftp-requests.ts'

interface Open {
  readonly path: string
  readonly folder: boolean
  bytesRead: number
  bytesWritten: number
  read: boolean
}

interface Asked {
  readonly request: SftpRequest
  /** What its handle stood for when it was asked. */
  readonly open: Open | undefined
  readonly into: Open | undefined
}

type Report = (code: string, fields: AuditFields) => void

/** Head bytes of a response: id, and status code or length of data. */
const RESPONSE_HEAD_BYTES = 8

export class SftpObserver {
  readonly #report: Report
  readonly #requests = new SftpFrames(requestHead, (...message) => this.#request(...message))
  readonly #responses = new SftpFrames(responseHead, (...message) => this.#response(...message))
  readonly #asked = new Map<number, Asked>()
  readonly #open = new Map<string, Open>()
  #kept = 0
  #phase: 'init' | 'version' | 'running' = 'init'
  #fault: string | undefined
  readonly #sums = { filesRead: 0, filesWritten: 0, bytesRead: 0, bytesWritten: 0 }
  #operations = 0
  #failures = 0

  constructor(report: Report) {
    this.#report = report
  }

  /** Why bytes must not pass. It was reported; nothing more is taken. */
  get fault(): string | undefined {
    return this.#fault
  }

  fromClient(bytes: Uint8Array): void {
    this.#take('client', this.#requests, bytes)
  }

  fromServer(bytes: Uint8Array): void {
    this.#take('target', this.#responses, bytes)
  }

  /** The session is over: what was never answered, what was still open, and the sum. */
  end(): void {
    for (const asked of this.#asked.values()) this.#unanswered(asked)
    for (const open of this.#open.values()) if (!open.folder) this.#closed(open, undefined)
    this.#asked.clear()
    this.#open.clear()
    const { filesRead, filesWritten, bytesRead, bytesWritten } = this.#sums
    this.#report('TS021I', {
      files_read: filesRead,
      files_written: filesWritten,
      bytes_read: bytesRead,
      bytes_written: bytesWritten,
      operations: this.#operations,
      failures: this.#failures,
    })
  }

  #take(side: 'client' | 'target', frames: SftpFrames, bytes: Uint8Array): void {
    if (this.#fault !== undefined) return
    let fault: string | undefined
    try {
      fault = frames.take(bytes)
    } catch (error) {
      // Our own words are ranges; a reader's tell of certificates.
      fault = error instanceof RangeError ? error.message : 'a message is malformed'
    }
    if (fault === undefined) return
    this.#fault = fault
    this.#report('SLH002E', { side, error: fault })
  }

  #request(type: number, head: Uint8Array, bytes: number): void {
    const reader = new SshReader(head)
    if (type === REQUEST.init) {
      if (this.#phase !== 'init') throw new RangeError('it begins twice')
      this.#phase = 'version'
      return
    }
    if (this.#phase === 'init') throw new RangeError('something comes before its beginning')
    const id = reader.u32()
    const request = readRequest(type, reader, bytes)
    if (request === undefined) throw new RangeError(`nobody here knows what request ${type} does`)
    if (this.#asked.has(id)) throw new RangeError('two requests have one number')
    if (this.#asked.size >= max('sftpPendingMax'))
      throw new RangeError('more than sftpPendingMax requests wait for their answers')
    this.#keep(costOf(request))
    const open = 'handle' in request ? this.#open.get(request.handle) : undefined
    const into =
      request.kind === 'change-open' && request.into !== undefined
        ? this.#open.get(request.into)
        : undefined
    this.#asked.set(id, { request, open, into })
  }

  #response(type: number, head: Uint8Array, bytes: number): void {
    const reader = new SshReader(head)
    const number = reader.u32()
    if (this.#phase !== 'running') {
      if (type !== RESPONSE.version || this.#phase === 'init' || number !== VERSION)
        throw new RangeError('the server speaks no version 3')
      this.#phase = 'running'
      return
    }
    const asked = this.#asked.get(number)
    if (asked === undefined) throw new RangeError('an answer came that nobody waits for')
    this.#asked.delete(number)
    this.#keep(-costOf(asked.request))
    const status = type === RESPONSE.status ? reader.u32() : undefined
    this.#answered(asked, { type, status, reader, bytes })
  }

  #answered(asked: Asked, answer: Answer): void {
    const { request, open, into } = asked
    const { status } = answer
    switch (request.kind) {
      case 'open':
        return this.#opened(request, answer)
      case 'change':
        return this.#told(request.code, changeFields(request), statusOf(answer))
      case 'change-open': {
        const path = open?.path ?? ''
        const target = into === undefined ? {} : { target_path: into.path }
        return this.#told(
          request.code,
          { action: request.action, path, ...target },
          statusOf(answer),
        )
      }
      case 'read':
        return this.#read(open, answer)
      case 'write':
        if (statusOf(answer) === STATUS.ok) this.#wrote(open, request.bytes)
        return undefined
      case 'readdir':
        return this.#listed(open, answer)
      case 'close':
        return this.#close(request.handle, open, statusOf(answer))
      case 'look':
        if (status === undefined && answer.type < RESPONSE.handle)
          throw new RangeError('an answer is none')
        return undefined
    }
  }

  #opened(request: Extract<SftpRequest, { kind: 'open' }>, answer: Answer): void {
    const { code, action, path, flags } = request
    const fields = { action, path, ...(flags === undefined ? {} : { flags }) }
    if (answer.type !== RESPONSE.handle) {
      const status = statusOf(answer)
      if (status === STATUS.ok) throw new RangeError('something was opened without a handle')
      return this.#told(code, fields, status)
    }
    const handle = handleOf(answer.reader)
    if (this.#open.has(handle)) throw new RangeError('a handle is given twice')
    if (this.#open.size >= max('sftpHandlesMax'))
      throw new RangeError('more than sftpHandlesMax files are open')
    this.#keep(path.length + handle.length)
    const folder = action === 'opendir'
    this.#open.set(handle, { path, folder, bytesRead: 0, bytesWritten: 0, read: false })
    return this.#told(code, fields, STATUS.ok)
  }

  #read(open: Open | undefined, answer: Answer): void {
    if (answer.type !== RESPONSE.data) return void statusOf(answer)
    const data = answer.reader.u32()
    if (open === undefined || open.folder) throw new RangeError('data came of no open file')
    if (answer.reader.at + data > answer.bytes)
      throw new RangeError('data are longer than their message')
    if (open.bytesRead === 0 && data > 0) this.#sums.filesRead += 1
    open.bytesRead += data
    this.#sums.bytesRead += data
  }

  #wrote(open: Open | undefined, bytes: number): void {
    if (open === undefined || open.folder) throw new RangeError('data went into no open file')
    if (open.bytesWritten === 0 && bytes > 0) this.#sums.filesWritten += 1
    open.bytesWritten += bytes
    this.#sums.bytesWritten += bytes
  }

  /** A folder is told of once, however many answers its names take. */
  #listed(open: Open | undefined, answer: Answer): void {
    const status = answer.type === RESPONSE.name ? STATUS.ok : statusOf(answer)
    if (open === undefined || open.read || status === STATUS.eof) return
    open.read = true
    this.#told('TS010', { action: 'readdir', path: open.path }, status)
  }

  #close(handle: string, open: Open | undefined, status: number): void {
    if (open === undefined || this.#open.get(handle) !== open) return
    this.#open.delete(handle)
    this.#keep(-(open.path.length + handle.length))
    if (!open.folder) this.#closed(open, status)
  }

  #closed(open: Open, status: number | undefined): void {
    const { path, bytesRead, bytesWritten } = open
    const amounts = { bytes_read: bytesRead, bytes_written: bytesWritten }
    const fields = { action: 'close', path, ...amounts }
    if (status !== undefined) return this.#told('TS002', fields, status)
    return this.#report('TS002I', { ...fields, unanswered: true })
  }

  #unanswered({ request, open }: Asked): void {
    if (request.kind === 'open')
      this.#report(`${request.code}I`, {
        action: request.action,
        path: request.path,
        unanswered: true,
      })
    else if (request.kind === 'change')
      this.#report(`${request.code}I`, { ...changeFields(request), unanswered: true })
    else if (request.kind === 'change-open')
      this.#report(`${request.code}I`, {
        action: request.action,
        path: open?.path ?? '',
        unanswered: true,
      })
  }

  #told(code: string, fields: AuditFields, status: number): void {
    this.#operations += 1
    if (status === STATUS.ok) return this.#report(`${code}I`, fields)
    this.#failures += 1
    const error = STATUS_NAMES[status] ?? 'failure'
    return this.#report(`${code}E`, { ...fields, error, status })
  }

  #keep(bytes: number): void {
    this.#kept += bytes
    if (this.#kept > max('sftpKeptBytesMax'))
      throw new RangeError('paths and handles are over sftpKeptBytesMax')
  }
}

interface Answer {
  readonly type: number
  readonly status: number | undefined
  /** Behind the id, or the status. */
  readonly reader: SshReader
  /** Of the whole body. */
  readonly bytes: number
}

function statusOf({ status }: Answer): number {
  if (status === undefined) throw new RangeError('an answer is of another kind than its request')
  return status
}

function responseHead(type: number): number {
  return type === RESPONSE.handle
    ? RESPONSE_HEAD_BYTES + max('sftpHandleBytesMax')
    : RESPONSE_HEAD_BYTES
}

/** What it holds while it waits, nearly: texts, and the entry itself. */
function costOf(request: SftpRequest): number {
  const entry = 64
  if ('path' in request) {
    const target = request.kind === 'change' ? (request.targetPath?.length ?? 0) : 0
    return entry + request.path.length + target
  }
  return entry
}

function changeFields(request: Extract<SftpRequest, { kind: 'change' }>): AuditFields {
  const { action, path, targetPath } = request
  return { action, path, ...(targetPath === undefined ? {} : { target_path: targetPath }) }
}
