// What control makes of a batch an agent or proxy uploads: take it over, know it already, or refuse it as another history.
// An emitter speaks only for itself, only with events of its role, and in the order of its own chain; what is missing is told.
// Pure: the log does the writing. The emitter's own proof (writer, number, hashes) is kept beside each event it sent.

import { auditEvent, type AuditEvent, type EventFields } from '../../core/audit/event.ts'
import {
  type ChainPosition,
  type ChainRecord,
  follows,
  genesis,
  hashOf,
  positionOf,
  readWrittenLine,
} from '../../core/audit/chain.ts'
import { auditRow } from '../../core/audit/catalogue.ts'
import { canonicalJson } from '../../core/cert/canonical.ts'
import { ProxyError } from '../../core/errors.ts'
import type { SystemIdentity } from '../../core/identity.ts'
import { max } from '../../core/limits.ts'

/** Makes an event of control's own. */
export type EventMaker = (name: string, code: string, fields: EventFields) => AuditEvent

export type Intake =
  | {
      readonly verdict: 'take'
      /** Canonical JSON of the events, with the emitter's proof. */
      readonly bodies: readonly string[]
      /** Those of the emitter's own that were taken over, as it sent them. */
      readonly taken: readonly AuditEvent[]
      readonly position: ChainPosition
    }
  /** Nothing new. */
  | { readonly verdict: 'known'; readonly seq: number }
  /** `claimed`: the hash of the record that does not fit. */
  | {
      readonly verdict: 'forked'
      readonly event: AuditEvent
      readonly claimed: string
      readonly reason: string
    }

/** Judges a batch. Throws `resource.invalid` or `limit.exceeded` for what is no batch of this emitter at all. */
export function judgeBatch(
  emitter: SystemIdentity,
  known: ChainPosition | undefined,
  lines: readonly string[],
  make: EventMaker,
): Intake {
  const records = readBatch(emitter, lines)
  const first = records[0]
  const last = records.at(-1)
  if (first === undefined || last === undefined) return { verdict: 'known', seq: known?.seq ?? 0 }
  const forked = ({ record }: Uploaded, expected: string, reason: string): Intake => {
    const { writer, seq, hash } = record
    const facts = { writer, seq, claimed_hash: hash, expected_hash: expected, reason }
    const event = make('audit.fork', 'SLA003E', { emitter_id: emitter.id, ...facts })
    return { verdict: 'forked', event, claimed: hash, reason }
  }
  const { seq, writer, prev } = first.record
  if (known === undefined || epochOf(writer) > epochOf(known.writer)) {
    const start = genesis(writer)
    if (seq === 1 && prev !== start.hash) {
      return forked(first, start.hash, 'The chain does not begin with its writer.')
    }
    const gaps = known === undefined && seq === 1 ? [] : [newChain(emitter, known, first.record)]
    return take(emitter, records, gaps, make)
  }
  if (writer !== known.writer) {
    return forked(first, known.hash, 'The chain is older than one already seen.')
  }
  const meeting = records.find(({ record }) => record.seq === known.seq)
  if (meeting !== undefined && meeting.record.hash !== known.hash) {
    return forked(meeting, known.hash, 'Another record with this number was acknowledged.')
  }
  if (last.record.seq <= known.seq) return { verdict: 'known', seq: known.seq }
  const fresh = records.filter(({ record }) => record.seq > known.seq)
  if (seq === known.seq + 1 && prev !== known.hash) {
    return forked(first, known.hash, 'The batch does not follow what was acknowledged.')
  }
  const gaps = seq > known.seq + 1 ? [gapIn(emitter, known, first.record)] : []
  return take(emitter, fresh, gaps, make)
}

/** A record with the canonical JSON of its event, as it came. */
interface Uploaded {
  readonly record: ChainRecord
  readonly body: string
}

function readBatch(emitter: SystemIdentity, lines: readonly string[]): readonly Uploaded[] {
  if (lines.length > max('auditBatchMax')) {
    throw new ProxyError('limit.exceeded', 'A batch has more records than auditBatchMax.')
  }
  const records: Uploaded[] = []
  const own = `${emitter.id}/`
  for (const line of lines) {
    const uploaded = readWrittenLine(line)
    const before = records.at(-1)
    if (uploaded === undefined || !isWhole(uploaded)) {
      throw invalid('A record is malformed or not what its hash covers.')
    }
    if (!uploaded.record.writer.startsWith(own)) {
      throw invalid('A record names another writer than the certificate that brought it.')
    }
    if (before !== undefined && !follows(positionOf(before.record), uploaded.record)) {
      throw invalid('The records of a batch do not follow each other.')
    }
    records.push(uploaded)
  }
  return records
}

function isWhole({ record, body }: Uploaded): boolean {
  return hashOf(record.writer, record.seq, record.prev, body) === record.hash
}

function take(
  emitter: SystemIdentity,
  records: readonly Uploaded[],
  gaps: readonly EventFields[],
  make: EventMaker,
): Intake {
  const taken: AuditEvent[] = []
  const bodies = gaps.map((gap) => canonicalJson(make('audit.gap', 'SLA002W', gap)))
  const id = canonicalJson(emitter.id)
  for (const uploaded of records) {
    const { record } = uploaded
    const reason = refusalOf(emitter, uploaded)
    if (reason === undefined) {
      taken.push(record.event)
      bodies.push(withProof(emitter, uploaded, id))
    } else {
      const proof = proofOf(emitter, record)
      bodies.push(canonicalJson({ ...refused(emitter, record, reason, make), emitter: proof }))
    }
  }
  const last = records.at(-1)
  if (last === undefined) return { verdict: 'known', seq: 0 }
  return { verdict: 'take', bodies, taken, position: positionOf(last.record) }
}

/** The event's text with the member `emitter` where it belongs: behind `ei`, when that place is beyond doubt. `id`: the emitter's, as JSON. */
function withProof(emitter: SystemIdentity, { record, body }: Uploaded, id: string): string {
  const { event, writer, seq, prev, hash } = record
  const before = `,"ei":${event.ei},`
  const at = body.indexOf(before)
  const rest = at + before.length
  const next = /^"([^"\\]+)"/.exec(body.slice(rest, rest + 64))?.[1] ?? ''
  if (at < 0 || body.includes(before, rest - 1) || next <= 'emitter' || !Object.hasOwn(event, next))
    return canonicalJson({ ...event, emitter: proofOf(emitter, record) })
  // In order, and of values whose form was checked when the record was read.
  const proof = `{"hash":"${hash}","id":${id},"prev":"${prev}","role":"${emitter.role}","seq":${seq},"writer":"${writer}"}`
  return `${body.slice(0, rest)}"emitter":${proof},${body.slice(rest)}`
}

/** Why the content is not taken over, though the chain is in order. Its place is kept, so that the emitter can go on. */
function refusalOf(
  emitter: SystemIdentity,
  { record: { event }, body }: Uploaded,
): string | undefined {
  const row = auditRow(event.code)
  if (row === undefined || row.name !== event.event) return 'The event is not known.'
  if (!row.by.includes(emitter.role)) return `The role ${emitter.role} may not emit this event.`
  if (event.cluster_name !== emitter.cluster) return 'The event names another cluster.'
  const serverId = event['server_id']
  if (serverId !== undefined && serverId !== emitter.id) return 'The event names another server.'
  if ('emitter' in event) return 'The event claims to have come through control.'
  if (Buffer.byteLength(body) > max('auditEventBytesMax')) {
    return 'The event is longer than auditEventBytesMax.'
  }
  return undefined
}

function refused(
  emitter: SystemIdentity,
  record: ChainRecord,
  reason: string,
  make: EventMaker,
): AuditEvent {
  return make('audit.refused', 'SLA004W', {
    emitter_id: emitter.id,
    writer: record.writer,
    seq: record.seq,
    claimed_hash: record.hash,
    claimed_event: record.event.event,
    claimed_code: record.event.code,
    reason,
  })
}

type EmitterProof = Readonly<Record<string, string | number>>

/** With the event as it stands, enough to compute the emitter's own chain again. */
function proofOf(emitter: SystemIdentity, record: ChainRecord): EmitterProof {
  const { writer, seq, prev, hash } = record
  return { id: emitter.id, role: emitter.role, writer, seq, prev, hash }
}

function gapIn(emitter: SystemIdentity, known: ChainPosition, first: ChainRecord): EventFields {
  const reason = 'Records of the emitter never arrived.'
  const lost = first.seq - 1 - known.seq
  return {
    emitter_id: emitter.id,
    reason,
    from_seq: known.seq + 1,
    to_seq: first.seq - 1,
    lost,
  }
}

function newChain(
  emitter: SystemIdentity,
  known: ChainPosition | undefined,
  first: ChainRecord,
): EventFields {
  const before = known === undefined ? 'none was known' : `the last ended with ${known.seq}`
  const reason = `The emitter began a chain anew (${before}).`
  return { emitter_id: emitter.id, reason, lost: first.seq - 1 }
}

function epochOf(writer: string): number {
  return Number(writer.slice(writer.lastIndexOf('/') + 1))
}

function invalid(message: string): ProxyError {
  return new ProxyError('resource.invalid', message, { side: 'client' })
}

/** An event maker for a writer's own events. */
export function eventMaker(cluster: string, newId: () => string, nowMs: () => number): EventMaker {
  return (name, code, fields) =>
    auditEvent(name, code, fields, { uid: newId(), timeMs: nowMs(), cluster })
}
