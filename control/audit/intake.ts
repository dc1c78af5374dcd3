// What control makes of a batch an agent or proxy uploads: take it over, know it already, or refuse it as another history.
// An emitter speaks only for itself, only with events of its role, and in the order of its own chain; what is missing is told.
// Pure: the log does the writing. The emitter's own proof (writer, number, hashes) is kept beside each event it sent.

import { auditEvent, type AuditEvent, type EventFields } from '../../core/audit/event.ts'
import {
  type ChainPosition,
  type ChainRecord,
  follows,
  genesis,
  isIntact,
  positionOf,
  readRecord,
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
      readonly events: readonly AuditEvent[]
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
  uploaded: readonly unknown[],
  make: EventMaker,
): Intake {
  const records = readBatch(emitter, uploaded)
  const first = records[0]
  const last = records.at(-1)
  if (first === undefined || last === undefined) return { verdict: 'known', seq: known?.seq ?? 0 }
  const forked = (record: ChainRecord, expected: string, reason: string): Intake => {
    const { writer, seq, hash } = record
    const facts = { writer, seq, claimed_hash: hash, expected_hash: expected, reason }
    const event = make('audit.fork', 'SLA003E', { emitter_id: emitter.id, ...facts })
    return { verdict: 'forked', event, claimed: hash, reason }
  }
  if (known === undefined || epochOf(first.writer) > epochOf(known.writer)) {
    const start = genesis(first.writer)
    if (first.seq === 1 && first.prev !== start.hash) {
      return forked(first, start.hash, 'The chain does not begin with its writer.')
    }
    const gaps = known === undefined && first.seq === 1 ? [] : [newChain(emitter, known, first)]
    return take(emitter, records, gaps, make)
  }
  if (first.writer !== known.writer) {
    return forked(first, known.hash, 'The chain is older than one already seen.')
  }
  const meeting = records.find((record) => record.seq === known.seq)
  if (meeting !== undefined && meeting.hash !== known.hash) {
    return forked(meeting, known.hash, 'Another record with this number was acknowledged.')
  }
  if (last.seq <= known.seq) return { verdict: 'known', seq: known.seq }
  const fresh = records.filter((record) => record.seq > known.seq)
  if (first.seq === known.seq + 1 && first.prev !== known.hash) {
    return forked(first, known.hash, 'The batch does not follow what was acknowledged.')
  }
  const gaps = first.seq > known.seq + 1 ? [gapIn(emitter, known, first)] : []
  return take(emitter, fresh, gaps, make)
}

function readBatch(emitter: SystemIdentity, uploaded: readonly unknown[]): readonly ChainRecord[] {
  if (uploaded.length > max('auditBatchMax')) {
    throw new ProxyError('limit.exceeded', 'A batch has more records than auditBatchMax.')
  }
  const records: ChainRecord[] = []
  for (const item of uploaded) {
    const record = intactRecord(item)
    const before = records.at(-1)
    if (record === undefined) throw invalid('A record is malformed or not what its hash covers.')
    if (!record.writer.startsWith(`${emitter.id}/`)) {
      throw invalid('A record names another writer than the certificate that brought it.')
    }
    if (before !== undefined && !follows(positionOf(before), record)) {
      throw invalid('The records of a batch do not follow each other.')
    }
    records.push(record)
  }
  return records
}

function intactRecord(item: unknown): ChainRecord | undefined {
  try {
    const record = readRecord(item)
    return record !== undefined && isIntact(record) ? record : undefined
  } catch {
    // Values without a canonical form: no hash of ours covers them.
    return undefined
  }
}

function take(
  emitter: SystemIdentity,
  records: readonly ChainRecord[],
  gaps: readonly EventFields[],
  make: EventMaker,
): Intake {
  const events = gaps.map((gap) => make('audit.gap', 'SLA002W', gap))
  const taken: AuditEvent[] = []
  for (const record of records) {
    const reason = refusalOf(emitter, record)
    const proof = proofOf(emitter, record)
    if (reason === undefined) taken.push(record.event)
    const event = reason === undefined ? record.event : refused(emitter, record, reason, make)
    events.push({ ...event, emitter: proof })
  }
  const last = records.at(-1)
  if (last === undefined) return { verdict: 'known', seq: 0 }
  return { verdict: 'take', events, taken, position: positionOf(last) }
}

/** Why the content is not taken over, though the chain is in order. Its place is kept, so that the emitter can go on. */
function refusalOf(emitter: SystemIdentity, record: ChainRecord): string | undefined {
  const { event } = record
  const row = auditRow(event.code)
  if (row === undefined || row.name !== event.event) return 'The event is not known.'
  if (!row.by.includes(emitter.role)) return `The role ${emitter.role} may not emit this event.`
  if (event.cluster_name !== emitter.cluster) return 'The event names another cluster.'
  const serverId = event['server_id']
  if (serverId !== undefined && serverId !== emitter.id) return 'The event names another server.'
  if ('emitter' in event) return 'The event claims to have come through control.'
  if (Buffer.byteLength(canonicalJson(event)) > max('auditEventBytesMax')) {
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

/** With the event as it stands, enough to compute the emitter's own chain again. */
function proofOf(
  emitter: SystemIdentity,
  record: ChainRecord,
): Readonly<Record<string, string | number>> {
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
