// The calls about recordings with their handlers; the rules are control/recordings.ts.

import { ProxyError } from '../core/errors.ts'
import type { CallContext, Handlers } from './api/handler.ts'
import type { Caller } from './api/caller.ts'
import type { Recordings } from './recordings.ts'

type RecordingCalls = 'recording-state' | 'recording-put' | 'recording-list' | 'recording-read'

export function recordingHandlers(recordings: Recordings): Pick<Handlers, RecordingCalls> {
  return {
    'recording-state': ({ sid }, context) => recordings.state(sid, host(context)),
    'recording-put': ({ sid, offset, data }, context) =>
      recordings.put(sid, offset, Buffer.from(data, 'base64'), host(context)),
    'recording-list': (query) => recordings.list(query),
    'recording-read': ({ sid }, context) => recordings.read(sid, context),
  }
}

/** The table let only hosts in; what else comes is our own defect. */
function host({ caller }: CallContext): Extract<Caller, { kind: 'system' }>['identity'] {
  if (caller.kind === 'system') return caller.identity
  throw new ProxyError('policy.denied', 'This call is for agents and proxies.', { side: 'client' })
}
