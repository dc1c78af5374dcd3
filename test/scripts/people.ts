// Who appears in scripts: one user with a certificate, one target, one right to it. Nothing here is checked by anybody.

import type { TargetRef } from '../../core/identity.ts'
import type { Authorized } from '../../core/login.ts'
import type { Peer } from '../../core/protocol.ts'

export const target: TargetRef = { kind: 'db', name: 'orders' }

export const peer: Peer = {
  identity: {
    type: 'user',
    kind: 'human',
    issuer: 'local',
    name: 'alice',
    cluster: 'test',
    roles: ['dev'],
    traits: {},
    generation: 0,
  },
  facts: { serial: '1', fingerprint: 'aa', notBeforeMs: 0, notAfterMs: 1 },
}

// Protocols hand a right on and never look into it; a real one is minted by core/login.ts alone.
export const right = Object.freeze({
  decisionId: '01JALLOW',
  ...peer,
  access: { target, principal: 'app', resource: '' },
  grant: {
    roles: ['dev'],
    idleMsMax: 0,
    connectionsMax: 0,
    lockMode: 'best_effort',
    recordingMode: 'best_effort',
  },
}) as unknown as Authorized
