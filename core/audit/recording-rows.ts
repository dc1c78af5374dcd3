// The rows of the catalogue for recordings of sessions; catalogue.ts takes them in. Agents and proxies tell of what they write, control
// of what it has and of who reads it.

import type { SystemRole } from '../identity.ts'

interface RecordingRow {
  readonly name: string
  readonly meaning: string
  readonly fields: readonly string[]
  readonly by: readonly SystemRole[]
}

const EDGE: readonly SystemRole[] = ['agent', 'proxy']
const CONTROL: readonly SystemRole[] = ['control']

/** By code. `person`: the fields that every event with a person behind it has. */
export function recordingRows(person: readonly string[]): Readonly<Record<string, RecordingRow>> {
  return {
    SLV001I: {
      by: EDGE,
      name: 'session.recording.chunks',
      meaning: 'A recording grew; the hash covers all of it so far.',
      fields: ['sid', 'server_id', 'chunk_seq', 'chunk_hash', 'recorded_bytes'],
    },
    SLV002W: {
      by: EDGE,
      name: 'session.recording.quarantined',
      meaning: 'A recording is kept aside: it is damaged, or control does not take it.',
      fields: ['sid', 'server_id', 'reason', 'recorded_bytes'],
    },
    SLV003I: {
      by: CONTROL,
      name: 'session.recording.removed',
      meaning: 'A recording was older than recordings_retention and is gone.',
      fields: ['sid', 'session_user', 'target_name', 'server_id', 'session_stop', 'recorded_bytes'],
    },
    T2005I: {
      by: CONTROL,
      name: 'session.upload',
      meaning: 'Control has the recording of a session, whole.',
      fields: [
        'sid',
        'server_id',
        'user',
        'recorded_kind',
        'target_name',
        'session_start',
        'session_stop',
        'reason',
        'chunks',
        'chunk_hash',
        'recorded_bytes',
      ],
    },
    T2012I: {
      by: CONTROL,
      name: 'session.recording.access',
      meaning: 'The recording of a session was read.',
      fields: [...person, 'sid', 'session_user', 'target_name', 'updated_by', 'addr.remote'],
    },
  }
}
