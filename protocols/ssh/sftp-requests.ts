// What a client asks of SFTP, read from the heads of its messages (sftp-frames.ts). Extensions are those that OpenSSH knows; what another one
// would do nobody here could say, so it is no request at all.

import { max } from '../../core/limits.ts'
import type { SshReader } from '../../core/ssh/bytes.ts'
import { OPEN, REQUEST } from '../../core/ssh/sftp.ts'

/** `code`: of the audit event, without its severity. */
export type SftpRequest =
  /** Is told once it is answered: it changes something, or opens it. */
  | {
      readonly kind: 'open'
      readonly code: string
      readonly action: string
      readonly path: string
      readonly flags?: string
    }
  | {
      readonly kind: 'change'
      readonly code: string
      readonly action: string
      readonly path: string
      readonly targetPath?: string
    }
  /** The same of something that is open. */
  | {
      readonly kind: 'change-open'
      readonly code: string
      readonly action: string
      readonly handle: string
      readonly into?: string
    }
  | { readonly kind: 'read' | 'readdir' | 'close'; readonly handle: string }
  | { readonly kind: 'write'; readonly handle: string; readonly bytes: number }
  /** Looks at names and attributes. */
  | { readonly kind: 'look' }

interface PathRequest {
  readonly code: string
  readonly action: string
  /** How many paths it has; with two, which of them stands first in the log. */
  readonly paths: 1 | 'from-to' | 'target-link'
}

const SETSTAT: PathRequest = { code: 'TS007', action: 'setstat', paths: 1 }
const RENAME: PathRequest = { code: 'TS016', action: 'rename', paths: 'from-to' }

const PATHS: Readonly<Record<number, PathRequest>> = {
  [REQUEST.setstat]: SETSTAT,
  [REQUEST.remove]: { code: 'TS011', action: 'remove', paths: 1 },
  [REQUEST.mkdir]: { code: 'TS012', action: 'mkdir', paths: 1 },
  [REQUEST.rmdir]: { code: 'TS013', action: 'rmdir', paths: 1 },
  [REQUEST.rename]: RENAME,
  // OpenSSH's order, which is not the draft's.
  [REQUEST.symlink]: { code: 'TS018', action: 'symlink', paths: 'target-link' },
}

const EXTENDED_PATHS: ReadonlyMap<string, PathRequest> = new Map([
  ['posix-rename@openssh.com', RENAME],
  ['lsetstat@openssh.com', SETSTAT],
  ['hardlink@openssh.com', { code: 'TS019', action: 'link', paths: 'target-link' }],
])
const EXTENDED_LOOKS: ReadonlySet<string> = new Set([
  'statvfs@openssh.com',
  'fstatvfs@openssh.com',
  'fsync@openssh.com',
  'limits@openssh.com',
  'expand-path@openssh.com',
  'home-directory',
  'users-groups-by-id@openssh.com',
])
const LOOKS: ReadonlySet<number> = new Set([
  REQUEST.lstat,
  REQUEST.fstat,
  REQUEST.realpath,
  REQUEST.stat,
  REQUEST.readlink,
])
/** Id, handle, offset and length of a write, before its data. */
const WRITE_HEAD_BYTES = 4 + 4 + 8 + 4

/** Head bytes that a type is worth. */
export function requestHead(type: number): number {
  return type === REQUEST.write
    ? WRITE_HEAD_BYTES + max('sftpHandleBytesMax')
    : max('sftpHeadBytesMax')
}

/** The reader stands behind the id. Throws for what is malformed; undefined: nobody knows what it does. `bytes`: of the body. */
export function readRequest(
  type: number,
  reader: SshReader,
  bytes: number,
): SftpRequest | undefined {
  if (LOOKS.has(type)) return { kind: 'look' }
  const paths = PATHS[type]
  if (paths !== undefined) return changeOf(paths, reader)
  switch (type) {
    case REQUEST.open: {
      const path = pathOf(reader)
      const action = 'open'
      return { kind: 'open', code: 'TS001', action, path, flags: flagsOf(reader.u32()) }
    }
    case REQUEST.opendir:
      return { kind: 'open', code: 'TS009', action: 'opendir', path: pathOf(reader) }
    case REQUEST.close:
      return { kind: 'close', handle: handleOf(reader) }
    case REQUEST.read:
      return { kind: 'read', handle: handleOf(reader) }
    case REQUEST.readdir:
      return { kind: 'readdir', handle: handleOf(reader) }
    case REQUEST.fsetstat:
      return {
        kind: 'change-open',
        code: 'TS008',
        action: 'fsetstat',
        handle: handleOf(reader),
      }
    case REQUEST.write:
      return writeOf(reader, bytes)
    case REQUEST.extended:
      return extendedOf(reader)
    default:
      return undefined
  }
}

function writeOf(reader: SshReader, bytes: number): SftpRequest {
  const handle = handleOf(reader)
  reader.u64()
  const data = reader.u32()
  // What the server would take for the next message must be what we take for it.
  if (reader.at + data !== bytes) throw new RangeError('a write has another length than its data')
  return { kind: 'write', handle, bytes: data }
}

function extendedOf(reader: SshReader): SftpRequest | undefined {
  const name = reader.text()
  const paths = EXTENDED_PATHS.get(name)
  if (paths !== undefined) return changeOf(paths, reader)
  if (EXTENDED_LOOKS.has(name)) return { kind: 'look' }
  if (name !== 'copy-data') return undefined
  const handle = handleOf(reader)
  reader.u64()
  reader.u64()
  const into = handleOf(reader)
  return { kind: 'change-open', code: 'TS004', action: 'copy-data', handle, into }
}

function changeOf({ code, action, paths }: PathRequest, reader: SshReader): SftpRequest {
  const first = pathOf(reader)
  if (paths === 1) return { kind: 'change', code, action, path: first }
  const second = pathOf(reader)
  const [path, targetPath] = paths === 'from-to' ? [first, second] : [second, first]
  return { kind: 'change', code, action, path, targetPath }
}

/** Names need not be UTF-8: what is none is told with replacements, and passes as it is. */
function pathOf(reader: SshReader): string {
  const bytes = reader.string()
  if (bytes.length > max('sftpPathBytesMax'))
    throw new RangeError('a path is over sftpPathBytesMax')
  return Buffer.from(bytes).toString('utf8')
}

export function handleOf(reader: SshReader): string {
  const bytes = reader.string()
  if (bytes.length > max('sftpHandleBytesMax'))
    throw new RangeError('a handle is over sftpHandleBytesMax')
  return Buffer.from(bytes).toString('latin1')
}

function flagsOf(bits: number): string {
  return Object.entries(OPEN)
    .filter(([, bit]) => (bits & bit) !== 0)
    .map(([name]) => name)
    .join(',')
}
