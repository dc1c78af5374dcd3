// Numbers of SFTP version 3 (draft-ietf-secsh-filexfer-02, the one every server speaks; extensions: OpenSSH's PROTOCOL, section 4), for
// whoever speaks it and whoever watches it pass. No logic.

export const VERSION = 3

/** Section 3, as all types that follow. */
export const REQUEST = {
  init: 1,
  open: 3,
  close: 4,
  read: 5,
  write: 6,
  lstat: 7,
  fstat: 8,
  setstat: 9,
  fsetstat: 10,
  opendir: 11,
  readdir: 12,
  remove: 13,
  mkdir: 14,
  rmdir: 15,
  realpath: 16,
  stat: 17,
  rename: 18,
  readlink: 19,
  symlink: 20,
  extended: 200,
} as const

export const RESPONSE = {
  version: 2,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attrs: 105,
  extendedReply: 201,
} as const

/** Section 6.3: how a file is opened. */
export const OPEN = {
  read: 1,
  write: 2,
  append: 4,
  create: 8,
  truncate: 16,
  exclusive: 32,
} as const

/** Section 5: which attributes follow. */
export const ATTRIBUTE = {
  size: 1,
  ids: 2,
  permissions: 4,
  times: 8,
  extended: 0x8000_0000,
} as const

/** Section 7. */
export const STATUS = { ok: 0, eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4 } as const

/** Names of status codes, for people. */
export const STATUS_NAMES: Readonly<Record<number, string>> = {
  1: 'end of file',
  2: 'no such file',
  3: 'permission denied',
  4: 'failure',
  5: 'bad message',
  6: 'no connection',
  7: 'connection lost',
  8: 'operation unsupported',
}

/** File types in the permissions, as POSIX has them. */
export const MODE = { type: 0o170_000, folder: 0o040_000, file: 0o100_000, bits: 0o777 } as const
