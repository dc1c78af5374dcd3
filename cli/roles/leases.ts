// Session leases over control's API, as the main threads of agents and proxies take, keep and give them back.

import type { ControlClient } from '../../control/api/client.ts'
import type { LeaseControl } from '../../workers/held-leases.ts'

export function leaseControl(client: ControlClient): LeaseControl {
  return {
    takeLease: async ({ issuer, user, decisionId, connectionsMax }, signal) => {
      const wish = { issuer, user, decisionId, max: connectionsMax }
      return (await client.call('lease-take', wish, { signal })).lease
    },
    keepLease: async (id, { issuer, user }) =>
      void (await client.call('lease-keep', { id, issuer, user })),
    releaseLease: async (id) => void (await client.call('lease-release', { id })),
  }
}
