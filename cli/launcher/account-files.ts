// The line of a login in passwd(5) or shadow(5), read here instead of by a process: most logins of most machines are in these files, and
// a process costs a start more than all else of it. Read anew for each start, so that nothing is believed longer than it is true. Only
// where nsswitch.conf(5) says that these files are asked first, and only a line that is spelt as it should be; of everything else nothing
// is said, and getent answers.

import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs'
import path from 'node:path'

import { max } from '../../core/limits.ts'

export type AccountTable = 'passwd' | 'shadow'

const ETC = '/etc'
const LINE_FEED = 0x0a
const SPACE = 0x20
const TAB = 0x09

/** Fields behind the name; the password's is never looked at. */
const FORMS: Readonly<Record<AccountTable, RegExp>> = {
  passwd: /^:[^:]*:\d+:\d+:[^:]*:[^:]*:[^:]*$/,
  shadow: /^(:[^:]*){8}$/,
}

/** Undefined: this is not to be told from the files. */
export function lineInFiles(
  table: AccountTable,
  login: string,
  etc: string = ETC,
): string | undefined {
  const services = readFile(path.join(etc, 'nsswitch.conf'))
  if (services === undefined || !isFilesFirst(services.toString('latin1'), table)) return undefined
  const file = readFile(path.join(etc, table))
  if (file === undefined) return undefined
  try {
    const line = findLine(file, login)?.toString('utf8')
    return line !== undefined && FORMS[table].test(line.slice(login.length)) ? line : undefined
  } finally {
    // Of others no hash stays in memory.
    file.fill(0)
  }
}

/** A source that is first and has the login is the last that is asked, unless an action behind it says otherwise. */
function isFilesFirst(services: string, table: AccountTable): boolean {
  const said = services.split('\n').filter((line) => line.trimStart().startsWith(table))
  const [only = '', ...more] = said
  return more.length === 0 && FILES_FIRST.test(only.trim().slice(table.length))
}

const FILES_FIRST = /^\s*:\s*files(\s*#.*|\s+[^[\s].*)?$/

/** The first line of that name. A line that begins with a blank is one that the C library reads otherwise: then nothing is found. */
function findLine(file: Buffer, login: string): Buffer | undefined {
  const start = Buffer.from(`${login}:`)
  for (let at = 0; at < file.length; ) {
    const feed = file.indexOf(LINE_FEED, at)
    const end = feed < 0 ? file.length : feed
    const first = file[at]
    if (first === SPACE || first === TAB) return undefined
    if (file.compare(start, 0, start.length, at, Math.min(at + start.length, end)) === 0)
      return file.subarray(at, end)
    at = end + 1
  }
  return undefined
}

/** Undefined when there is none, or none of a size that is read here. */
function readFile(file: string): Buffer | undefined {
  try {
    const descriptor = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
    try {
      const { size } = fstatSync(descriptor)
      if (size > max('accountFileBytesMax')) return undefined
      const bytes = Buffer.alloc(size)
      // Shorter than it was: somebody writes it now.
      return readSync(descriptor, bytes, 0, size, 0) === size ? bytes : undefined
    } finally {
      closeSync(descriptor)
    }
  } catch {
    // Whoever asks has getent to say what is wrong.
    return undefined
  }
}
