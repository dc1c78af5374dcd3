// The rows of the catalogue that tell of the log itself: damage, gaps, forks, refusals and sides that do not match; catalogue.ts takes
// them in.

import type { SystemRole } from '../identity.ts'
import type { AuditRow } from './catalogue.ts'

const CONTROL: readonly SystemRole[] = ['control']
const ALL: readonly SystemRole[] = ['agent', 'control', 'proxy']

export function logRows(): Readonly<Record<string, AuditRow>> {
  return ROWS
}

function row(
  by: readonly SystemRole[],
  name: string,
  meaning: string,
  fields: readonly string[],
): AuditRow {
  return { by, name, meaning, fields }
}

const ROWS: Readonly<Record<string, AuditRow>> = {
  SLA001W: row(ALL, 'audit.recovered', 'A torn end of the log was cut off after a crash.', [
    'file',
    'offset',
    'dropped_bytes',
    'whole_records',
    'kept_as',
  ]),
  SLA002W: row(ALL, 'audit.gap', 'Events are missing, and how many.', [
    'emitter_id',
    'reason',
    'from_seq',
    'to_seq',
    'lost',
    'since',
  ]),
  SLA003E: row(ALL, 'audit.fork', 'Two different histories of one log exist.', [
    'emitter_id',
    'writer',
    'seq',
    'expected_hash',
    'claimed_hash',
    'reason',
  ]),
  SLA004W: row(CONTROL, 'audit.refused', 'An event of an emitter was not taken over.', [
    'emitter_id',
    'writer',
    'seq',
    'claimed_hash',
    'claimed_event',
    'claimed_code',
    'reason',
  ]),
  SLA005W: row(
    CONTROL,
    'audit.unmatched',
    'One host told of a session, and the other host it ran through did not.',
    [
      'sid',
      'emitter_id',
      'lacking',
      'lacking_role',
      'target_name',
      'claimed_event',
      'claimed_code',
      'since',
      'reason',
    ],
  ),
  SLA006W: row(
    CONTROL,
    'audit.unmatched',
    'Sessions were not compared: too many waited for their other side.',
    ['lost', 'reason'],
  ),
}
