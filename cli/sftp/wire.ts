// Numbers of SFTP version 3 (draft-ietf-secsh-filexfer-02), the one every server speaks. No logic.

export const VERSION = 3

/** Section 3. */
export const TYPE = {
  init: 1,
  version: 2,
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
  mkdir: 14,
  realpath: 16,
  stat: 17,
  status: 101,
  handle: 102,
  data: 103,
  name: 104,
  attrs: 105,
} as const

/** Section 6.3. */
export const OPEN = { read: 1, write: 2, create: 8, truncate: 16 } as const

/** Section 5. */
export const ATTRIBUTE = {
  size: 1,
  ids: 2,
  permissions: 4,
  times: 8,
  extended: 0x8000_0000,
} as const

/** Section 7. */
export const STATUS = { ok: 0, eof: 1, noSuchFile: 2, permissionDenied: 3, failure: 4 } as const

/** File types in the permissions, as POSIX has them. */
export const MODE = { type: 0o170_000, folder: 0o040_000, file: 0o100_000, bits: 0o777 } as const
