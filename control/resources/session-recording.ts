// The resource `session_recording_config`. One of it. Its mode says where sessions end for the client: at the agent (`node`,
// `node-sync`, `off`), or at a proxy (`proxy`, `proxy-sync`). Sessions and statements are audited there; in the sync modes no answer
// passes before the disk has what the log says of it.

import { z } from 'zod'

import type { RecordingMode } from '../../core/snapshot.ts'
import type { Envelope } from './field.ts'
import { envelope, singletonName, yesNo } from './field.ts'

export const SESSION_RECORDING_NAME = 'session-recording-config'

export interface SessionRecordingSpec {
  readonly mode?: RecordingMode
  readonly proxy_checks_host_keys?: boolean
}

export type SessionRecordingResource = Envelope<'session_recording_config', SessionRecordingSpec>

const MODES = ['node', 'node-sync', 'proxy', 'proxy-sync', 'off'] as const

const spec: z.ZodType<SessionRecordingSpec> = z.strictObject({
  mode: z.exactOptional(z.enum(MODES, { error: `expected one of ${MODES.join(', ')}` })),
  proxy_checks_host_keys: z.exactOptional(yesNo),
  encryption: z.exactOptional(
    z.strictObject({
      enabled: yesNo.refine((on) => !on, { error: 'not built yet: encrypted recordings' }),
    }),
  ),
})

export const sessionRecordingSchema: z.ZodType<SessionRecordingResource> = envelope(
  'session_recording_config',
  ['v2'],
  singletonName(SESSION_RECORDING_NAME),
  spec,
)

export function sessionRecordingColumns(): readonly string[] {
  return ['Mode', 'Proxy Checks Host Keys']
}

export function sessionRecordingRow({ spec: config }: SessionRecordingResource): readonly string[] {
  return [config.mode ?? 'node', config.proxy_checks_host_keys === false ? 'no' : 'yes']
}
