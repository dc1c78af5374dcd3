// Who has which terminal, for `who` (utmp, now) and `last` (wtmp, ever), where the machine keeps these files: neither is ever made here.
// A record that cannot be written keeps nobody from working; the log says so once for each file. Both files are shared with login, sshd
// and others, who take fcntl locks that Node has not, so a write is one call and touches as little as it can:
// wtmp only grows, by one whole record at a time (O_APPEND). In utmp a record of the same terminal is overwritten, else one is added. The
// kernel gives a terminal to one at a time, so nobody else has business with the records of ours while it lives. What a race can cost is
// one line of `who`: whoever adds a record under a lock, at the end it has seen, may put it over one that was added here meanwhile.

import { createHash } from 'node:crypto'
import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from 'node:fs'

import type { Clock } from '../../core/clock.ts'
import { errorCode, ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import {
  idOf,
  type LoginRecord,
  markBytes,
  type ReadRecord,
  readRecord,
  type Terminal,
  TYPE,
  type UtmpLayout,
  writeRecord,
} from './utmp.ts'

export interface LoginFiles {
  readonly utmp: string
  readonly wtmp: string
}

export interface LoginRecordsOptions {
  readonly files: LoginFiles
  readonly layout: UtmpLayout
  /** Names this launcher among others of the machine, over its restarts. */
  readonly owner: string
  readonly clock: Clock
  readonly log: Logger
}

export interface LoginSession extends Terminal {
  readonly user: string
  readonly host: string
}

export class LoginRecords {
  readonly #options: LoginRecordsOptions
  /** Which records are of this launcher, so that its next start can end those that were left. */
  readonly #mark: Uint8Array
  readonly #open = new Set<LoginSession>()
  readonly #told = new Set<string>()

  constructor(options: LoginRecordsOptions) {
    this.#options = options
    this.#mark = createHash('sha256').update(options.owner).digest().subarray(0, markBytes)
  }

  /** Before anything is started: what an earlier launcher left open ended with it, as its terminals did. */
  endStale(): void {
    for (const left of this.#stale()) this.#writeEnd(left)
  }

  began(session: LoginSession): void {
    this.#open.add(session)
    const record = { ...session, type: TYPE.user, atMs: this.#options.clock.now() }
    this.#write(record, (each) => isLeftOf(each, session.line))
  }

  /** Once for each that began. */
  ended(session: LoginSession): void {
    if (this.#open.delete(session)) this.#writeEnd(session)
  }

  close(): void {
    for (const session of this.#open) this.ended(session)
  }

  /** Only over a record of our own: where there is none, another has the terminal by now. */
  #writeEnd({ line, pid }: Terminal): void {
    const record = { line, pid, user: '', host: '', type: TYPE.dead }
    this.#write(
      { ...record, atMs: this.#options.clock.now() },
      (each) => this.#isOurs(each) && each.line === line && each.pid === pid,
      'only-over',
    )
  }

  #write(
    record: Omit<LoginRecord, 'mark'>,
    isPlace: (each: ReadRecord) => boolean,
    how: 'or-add' | 'only-over' = 'or-add',
  ): void {
    const { files, layout } = this.#options
    const bytes = writeRecord({ ...record, mark: this.#mark }, layout)
    this.#attempt(files.wtmp, (file) => append(file, bytes))
    this.#attempt(files.utmp, (file) => {
      if (overwrite(file, bytes, isPlace, layout) || how === 'only-over') return
      append(file, bytes)
    })
  }

  #isOurs({ type, mark }: ReadRecord): boolean {
    return type === TYPE.user && Buffer.compare(mark, this.#mark) === 0
  }

  #stale(): readonly Terminal[] {
    const { files, layout } = this.#options
    let found: readonly Terminal[] = []
    this.#attempt(files.utmp, (file) => {
      found = recordsOf(file, layout).filter((each) => this.#isOurs(each))
    })
    return found
  }

  /** A machine without the file wants no records. */
  #attempt(file: string, act: (file: string) => void): void {
    try {
      act(file)
    } catch (error) {
      if (isMissing(error) || this.#told.has(file)) return
      this.#told.add(file)
      const { log } = this.#options
      log.warn('terminals of logins are not recorded in a file of the machine', {
        file,
        code: errorCode(error),
        error: String(error),
      })
    }
  }
}

/** Of the same terminal: over, or left by somebody who names terminals as we do. Another's name for it stays beside ours. */
function isLeftOf({ type, line, id }: ReadRecord, ours: string): boolean {
  if (line !== ours) return false
  return type === TYPE.dead || (type === TYPE.user && id === idOf(ours))
}

function append(file: string, record: Uint8Array): void {
  withFile(file, constants.O_WRONLY | constants.O_APPEND, record.length, (descriptor) =>
    writeWhole(descriptor, record, null),
  )
}

/** Whether there was a place for it. */
function overwrite(
  file: string,
  record: Uint8Array,
  isPlace: (each: ReadRecord) => boolean,
  layout: UtmpLayout,
): boolean {
  return withFile(file, constants.O_RDWR, layout.recordBytes, (descriptor, bytes) => {
    const index = readAll(descriptor, bytes, layout).findIndex(isPlace)
    if (index >= 0) writeWhole(descriptor, record, index * layout.recordBytes)
    return index >= 0
  })
}

function recordsOf(file: string, layout: UtmpLayout): readonly ReadRecord[] {
  return withFile(file, constants.O_RDONLY, layout.recordBytes, (descriptor, bytes) =>
    readAll(descriptor, bytes, layout),
  )
}

/** Only a plain file of whole records: anything else is of another machine's making, and would be spoilt. */
function withFile<T>(
  file: string,
  flags: number,
  recordBytes: number,
  act: (descriptor: number, bytes: number) => T,
): T {
  const descriptor = openSync(file, flags | constants.O_NOFOLLOW | constants.O_NONBLOCK)
  try {
    const found = fstatSync(descriptor)
    if (!found.isFile() || found.size % recordBytes !== 0)
      throw new ProxyError('runtime.unfit', 'The file is not one of whole records.')
    return act(descriptor, found.size)
  } finally {
    closeSync(descriptor)
  }
}

function readAll(descriptor: number, size: number, layout: UtmpLayout): readonly ReadRecord[] {
  if (size > max('utmpBytesMax'))
    throw new ProxyError('limit.exceeded', 'The file is longer than utmpBytesMax.')
  const file = Buffer.alloc(size)
  const whole = readSync(descriptor, file, 0, size, 0)
  const count = Math.floor(whole / layout.recordBytes)
  return Array.from({ length: count }, (_, at) => readRecord(file, at * layout.recordBytes, layout))
}

function writeWhole(descriptor: number, record: Uint8Array, at: number | null): void {
  if (writeSync(descriptor, record, 0, record.length, at) === record.length) return
  throw new ProxyError('runtime.unfit', 'A record was not written whole.')
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
