// A second writer of SFTP, for tests: messages by their numbers, fields as the draft writes them.

import { string, u32, u64 } from '../../core/ssh/bytes.ts'

type Field = number | bigint | string | Uint8Array

/** A message: numbers are uint32, bigints uint64, texts strings, bytes as they are. */
export function message(type: number, ...fields: readonly Field[]): Buffer {
  const body = Buffer.concat([Uint8Array.of(type), ...fields.map(written)])
  return Buffer.concat([u32(body.length), body])
}

function written(field: Field): Uint8Array {
  if (typeof field === 'number') return u32(field)
  if (typeof field === 'bigint') return u64(field)
  return typeof field === 'string' ? string(field) : field
}

export const INIT: Buffer = message(1, 3)
export const VERSION: Buffer = message(2, 3, 'posix-rename@openssh.com', '1')

export function status(id: number, code: number): Buffer {
  return message(101, id, code, 'text', 'en')
}
