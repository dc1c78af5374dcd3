// Numbers of SFTP version 3 (draft-ietf-secsh-filexfer-02; extensions: OpenSSH's PROTOCOL, section 4). No logic.

export const VERSION = 3

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

export const STATUS = { ok: 0, eof: 1 } as const

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

/** Bits of an open, in the order of their names. */
export const OPEN_FLAGS: readonly string[] = [
  'read',
  'write',
  'append',
  'create',
  'truncate',
  'exclusive',
]
