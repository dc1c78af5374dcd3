// SSH's row for the registry. Clients of nodes come by names and lines of their own (core/ssh/way-in.ts), so ALPN means nothing here; what
// is recognised is the identification of a client that begins at once.

import type { Recognition, StreamingProtocol } from '../../core/protocol.ts'
import { serveSsh } from './session.ts'

export const ssh: StreamingProtocol = {
  name: 'ssh',
  shape: 'streaming',
  kind: 'node',
  alpn: [],
  defaultPort: 22,
  recognise,
  session: serveSsh,
}

const IDENTIFICATION = Buffer.from('SSH-')

function recognise(first: Uint8Array): Recognition {
  const beginning = first.subarray(0, IDENTIFICATION.length)
  if (!IDENTIFICATION.subarray(0, beginning.length).equals(beginning)) return { verdict: 'no' }
  return { verdict: beginning.length < IDENTIFICATION.length ? 'more' : 'mine' }
}
