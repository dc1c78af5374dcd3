// One record of utmp and wtmp (utmp(5)) in bytes: who has which terminal, since when, from where. Pure. The layout is the C library's,
// so it is known by name: glibc's on x86-64, which keeps 32 bits of session and time, and on aarch64, which keeps 64. Text in a record
// is printable ASCII and cut to its field, whoever wrote it: `who` and `last` print it to terminals.

import net from 'node:net'

import { ipv6Groups } from '../../core/proxy-header.ts'

export interface UtmpLayout {
  readonly recordBytes: number
  /** Of the session, of seconds, of microseconds. */
  readonly wordBytes: 4 | 8
}

export interface System {
  readonly platform: string
  readonly arch: string
  /** Undefined: the C library is another, such as musl, which has no such files. */
  readonly glibc: string | undefined
}

const LAYOUTS: Readonly<Record<string, UtmpLayout>> = {
  x64: { recordBytes: 384, wordBytes: 4 },
  arm64: { recordBytes: 400, wordBytes: 8 },
}

/** Undefined: what records look like there is not known here, so none may be written. */
export function layoutOf({ platform, arch, glibc }: System): UtmpLayout | undefined {
  if (platform !== 'linux' || glibc === undefined || !Object.hasOwn(LAYOUTS, arch)) return undefined
  return LAYOUTS[arch]
}

/** Values of ut_type. */
export const TYPE = { user: 7, dead: 8 } as const

export interface Terminal {
  /** Its name below /dev. */
  readonly line: string
  /** Of the process that leads its session. */
  readonly pid: number
}

export interface LoginRecord extends Terminal {
  readonly type: number
  readonly user: string
  /** The client's address. */
  readonly host: string
  readonly atMs: number
  /** At most `markBytes`: says whose record it is, to its writer. */
  readonly mark: Uint8Array
}

/** What tells one record from others. */
export interface ReadRecord extends Terminal {
  readonly type: number
  readonly id: string
  readonly mark: Uint8Array
}

/** Where fields begin; behind the exit status they depend on the size of a word. */
const AT = { type: 0, pid: 4, line: 8, id: 40, user: 44, host: 76, session: 336 } as const
const LINE_BYTES = 32
const ID_BYTES = 4
const USER_BYTES = 32
const HOST_BYTES = 256
const ADDRESS_BYTES = 16
/** Reserved at the end of a record: glibc and its tools copy these bytes and read nothing in them. */
export const markBytes = 20

export function writeRecord(record: LoginRecord, layout: UtmpLayout): Uint8Array {
  const bytes = Buffer.alloc(layout.recordBytes)
  bytes.writeInt16LE(record.type, AT.type)
  bytes.writeInt32LE(record.pid, AT.pid)
  put(bytes, AT.line, record.line, LINE_BYTES)
  put(bytes, AT.id, idOf(record.line), ID_BYTES)
  put(bytes, AT.user, record.user, USER_BYTES)
  // One less: readers that expect a zero behind it are many.
  put(bytes, AT.host, record.host, HOST_BYTES - 1)
  const seconds = Math.floor(record.atMs / 1000)
  const micros = Math.floor((record.atMs - seconds * 1000) * 1000)
  for (const [index, value] of [record.pid, seconds, micros].entries())
    putWord(bytes, AT.session + index * layout.wordBytes, value, layout)
  const addressAt = addressAtOf(layout)
  bytes.set(addressOf(record.host), addressAt)
  bytes.set(record.mark.subarray(0, markBytes), addressAt + ADDRESS_BYTES)
  return bytes
}

/** The record at this place of a file. */
export function readRecord(file: Buffer, at: number, layout: UtmpLayout): ReadRecord {
  const bytes = file.subarray(at, at + layout.recordBytes)
  const markAt = addressAtOf(layout) + ADDRESS_BYTES
  return {
    type: bytes.readInt16LE(AT.type),
    pid: bytes.readInt32LE(AT.pid),
    line: textAt(bytes, AT.line, LINE_BYTES),
    id: textAt(bytes, AT.id, ID_BYTES),
    mark: bytes.subarray(markAt, markAt + markBytes),
  }
}

/** As login and sshd name it, so that each finds the other's record of the same terminal: its last four characters. */
export function idOf(line: string): string {
  return line.slice(-ID_BYTES)
}

function addressAtOf({ wordBytes }: UtmpLayout): number {
  return AT.session + 3 * wordBytes
}

function put(bytes: Buffer, at: number, text: string, room: number): void {
  const plain = text.slice(0, room).replaceAll(/[^ -~]/g, '?')
  bytes.write(plain, at, room, 'latin1')
}

function textAt(bytes: Buffer, at: number, room: number): string {
  const text = bytes.toString('latin1', at, at + room)
  const end = text.indexOf('\0')
  return end < 0 ? text : text.slice(0, end)
}

/** Words of 32 bits hold seconds until 2106: readers of today take them as unsigned. */
function putWord(bytes: Buffer, at: number, value: number, { wordBytes }: UtmpLayout): void {
  if (wordBytes === 8) bytes.writeBigInt64LE(BigInt(value), at)
  else bytes.writeUInt32LE(value % 2 ** 32, at)
}

const MAPPED_BYTES = 12

/** In network order; of IPv4, also in IPv6 dress, the first four bytes. Nothing of what is no address. */
function addressOf(host: string): Uint8Array {
  if (net.isIPv4(host)) return Uint8Array.from(host.split('.').map(Number))
  const groups = net.isIPv6(host) ? ipv6Groups(host.split('%', 1)[0] ?? '') : undefined
  if (groups === undefined) return new Uint8Array()
  const bytes = Uint8Array.from(groups.flatMap((group) => [group >> 8, group & 0xff]))
  const mapped = groups.slice(0, 5).every((group) => group === 0) && groups[5] === 0xffff
  return mapped ? bytes.subarray(MAPPED_BYTES) : bytes
}
