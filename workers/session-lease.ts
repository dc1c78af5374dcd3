// `max_connections` of one session: taken beside the first byte, by the process that verified the certificate (the agent in relay
// mode, the proxy in terminate mode), through its main thread, which keeps it until it is given back (held-leases.ts).

import type { Authorized } from '../core/login.ts'
import type { AgentAnswer, LeaseQuestion, ProxyAnswer } from '../core/questions.ts'
import type { Refusal } from '../core/protocol.ts'

/** Undefined: the person's roles set no limit. */
export async function leaseFor(
  right: Authorized,
  ask: (question: LeaseQuestion) => Promise<AgentAnswer | ProxyAnswer>,
): Promise<{ readonly lease: string } | { readonly refusal: Refusal } | undefined> {
  const { grant, identity, decisionId } = right
  const { connectionsMax } = grant
  if (connectionsMax === 0) return undefined
  const { issuer, name: user } = identity
  const answer = await ask({ what: 'lease', issuer, user, decisionId, connectionsMax })
  if (answer.what === 'lease') return { lease: answer.lease }
  const unavailable = answer.what === 'no' && answer.kind === 'unavailable'
  if (unavailable)
    return {
      refusal: {
        decisionId,
        kind: 'unavailable',
        reason: answer.message,
        next: 'Try again in a moment.',
      },
    }
  return {
    refusal: {
      decisionId,
      kind: 'limit',
      reason: answer.what === 'no' ? answer.message : 'no lease was given',
      next: 'End another session of yours, or ask for a higher max_connections.',
    },
  }
}
