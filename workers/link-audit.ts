// What the audit log hears of links and spares that a proxy refused.

import type { FromProxyWorker } from '../core/messages.ts'

type Audit = (name: string, code: string, fields: Readonly<Record<string, unknown>>) => void

export function auditRefusedLink(
  audit: Audit,
  { agentId, reason, source }: Extract<FromProxyWorker, { kind: 'refused-link' }>,
): void {
  audit('link.refused', 'SLL001W', {
    ...(agentId === undefined ? {} : { agent_id: agentId }),
    reason,
    'addr.remote': source.address,
  })
}

export function auditRefusedSpare(
  audit: Audit,
  { agentId, spareId, reason }: { agentId: string; spareId: string; reason: string },
): void {
  audit('spare.refused', 'SLL002W', { agent_id: agentId, spare_id: spareId, reason })
}
