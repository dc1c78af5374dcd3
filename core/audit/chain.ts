// The hash chain of an audit log: how a record is written as one line, what its hash covers, how a line is read back.
// A line is   {"seq":N,"writer":W,"prev":P, <event fields, sorted>, "hash":H}   with no white space, and
//   H = SHA-256( "sluice-audit-1\n" W "\n" N "\n" P "\n" <canonical JSON of the event fields> ), hexadecimal,
//   P = H of the record before; for N = 1 the SHA-256 of "sluice-audit-1\n" W, so that the beginning names its writer.
// There is one text per record: a line that is not exactly what its fields encode to is not a record.

import { hash as digest } from 'node:crypto'
import { type Canonical, canonicalJson, isCanonicalJson } from '../cert/canonical.ts'
import { max } from '../limits.ts'
import type { AuditEvent } from './event.ts'

const FORMAT = 'sluice-audit-1'
const HASH = /^[0-9a-f]{64}$/
/** Writers are host ids, with an epoch where a log may begin anew: `<id>/<epoch>`. */
const WRITER = /^[A-Za-z0-9][A-Za-z0-9:._-]{0,127}(\/[0-9]{1,15})?$/
/** What the chain adds to an event, with the emitter's proof that control keeps. */
export const CHAIN_BYTES_MAX = 1024

/** Where a chain stands: the last record's number and hash. */
export interface ChainPosition {
  readonly writer: string
  readonly seq: number
  readonly hash: string
}

/** One record of a chain. `event` holds everything the hash covers beside the chain's own fields. */
export interface ChainRecord {
  readonly writer: string
  readonly seq: number
  readonly prev: string
  readonly hash: string
  readonly event: AuditEvent
}

/** The position before the first record. */
export function genesis(writer: string): ChainPosition {
  if (!WRITER.test(writer)) throw new TypeError('an audit writer has a malformed name')
  return { writer, seq: 0, hash: sha256(`${FORMAT}\n${writer}`) }
}

/** The next record's line, without its line feed, and where the chain stands behind it. `body` is the event's canonical JSON. */
export function nextLine(
  position: ChainPosition,
  body: string,
): { line: string; position: ChainPosition } {
  const seq = position.seq + 1
  const hash = hashOf(position.writer, seq, position.hash, body)
  const line = lineOf({ writer: position.writer, seq, prev: position.hash, hash }, body)
  return { line, position: { writer: position.writer, seq, hash } }
}

/** The hash a record must have for its content and its own `prev`. */
export function hashOf(writer: string, seq: number, prev: string, body: string): string {
  return sha256(`${FORMAT}\n${writer}\n${seq}\n${prev}\n${body}`)
}

/** The record a line is, or undefined when it is none. Says nothing about the hash: see `isIntact`. */
export function readLine(line: string): ChainRecord | undefined {
  return readWrittenLine(line)?.record
}

/** The same with the event's canonical JSON, as it stands in the line. */
export function readWrittenLine(
  line: string,
): { readonly record: ChainRecord; readonly body: string } | undefined {
  if (line.length > max('auditEventBytesMax') + CHAIN_BYTES_MAX) return undefined
  const chain = readChain(line)
  if (chain === undefined) return undefined
  const body = `{${line.slice(headOf(chain).length, -TAIL_LENGTH)}}`
  try {
    const event = JSON.parse(body) as Record<string, unknown>
    const mixed = CHAIN_FIELDS.some((field) => Object.hasOwn(event, field))
    if (mixed || !isEvent(event) || !isCanonicalJson(event, body)) return undefined
    return { record: { ...chain, event }, body }
  } catch {
    // Not JSON, or values without a canonical form: not a line of ours.
    return undefined
  }
}

const CHAIN_FIELDS = ['writer', 'seq', 'prev', 'hash'] as const
const HEAD = /^\{"seq":([1-9][0-9]{0,15}),"writer":"([^"\\]{1,144})","prev":"([0-9a-f]{64})",/
const TAIL = /^,"hash":"([0-9a-f]{64})"\}$/
const TAIL_LENGTH = ',"hash":""}'.length + 64

/** The chain's own fields, at the two ends of a line. */
function readChain(line: string): Chain | undefined {
  const [, number, writer = '', prev = ''] = HEAD.exec(line) ?? []
  const hash = TAIL.exec(line.slice(-TAIL_LENGTH))?.[1]
  const seq = Number(number)
  if (hash === undefined || !Number.isSafeInteger(seq) || !WRITER.test(writer)) return undefined
  return { writer, seq, prev, hash }
}

/** The record in an object that was parsed elsewhere (an upload). Throws a TypeError for values without a canonical form. */
export function readRecord(value: unknown): ChainRecord | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined
  const { writer, seq, prev, hash, ...event }: Record<string, unknown> = { ...value }
  if (typeof writer !== 'string' || !WRITER.test(writer)) return undefined
  if (typeof seq !== 'number' || !Number.isSafeInteger(seq) || seq < 1) return undefined
  if (typeof prev !== 'string' || !HASH.test(prev)) return undefined
  if (typeof hash !== 'string' || !HASH.test(hash)) return undefined
  return isEvent(event) ? { writer, seq, prev, hash, event } : undefined
}

/** True when the hash fits the record's content and its own `prev`. Whether `prev` is right is the verifier's question. */
export function isIntact(record: ChainRecord): boolean {
  const body = canonicalJson(record.event)
  return hashOf(record.writer, record.seq, record.prev, body) === record.hash
}

/** True when `record` is the one that comes next after `position`. */
export function follows(position: ChainPosition, record: ChainRecord): boolean {
  return (
    record.writer === position.writer &&
    record.seq === position.seq + 1 &&
    record.prev === position.hash
  )
}

export function positionOf(record: ChainRecord): ChainPosition {
  return { writer: record.writer, seq: record.seq, hash: record.hash }
}

/** The object form of a record, as it travels in uploads and answers. */
export function recordObject(record: ChainRecord): Readonly<Record<string, Canonical>> {
  const { writer, seq, prev, hash, event } = record
  return { ...event, writer, seq, prev, hash }
}

type Chain = Omit<ChainRecord, 'event'>

function lineOf(chain: Chain, body: string): string {
  return `${headOf(chain)}${body.slice(1, -1)}${tailOf(chain)}`
}

function headOf({ seq, writer, prev }: Chain): string {
  return `{"seq":${seq},"writer":${JSON.stringify(writer)},"prev":"${prev}",`
}

function tailOf({ hash }: Chain): string {
  return `,"hash":"${hash}"}`
}

function isEvent(value: Record<string, unknown>): value is AuditEvent {
  const texts = ['event', 'code', 'uid', 'time', 'cluster_name']
  // Canonical form is checked by encoding it, which every caller does next.
  return texts.every((name) => typeof value[name] === 'string') && typeof value['ei'] === 'number'
}

function sha256(text: string): string {
  return digest('sha256', text, 'hex')
}
