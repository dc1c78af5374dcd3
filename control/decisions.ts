// Decisions by id, out of the audit log: the person concerned sees that and whether, auditors see why (`tctl explain`).

import { ProxyError } from '../core/errors.ts'
import { type Explanation, redactExplanation } from '../core/policy/explain.ts'
import { renderExplanation } from '../core/policy/render.ts'
import type { AuditLog } from './audit.ts'
import type { Decision, Json } from './api/messages.ts'

type Fields = Readonly<Record<string, unknown>>

/** `reader`: the name of the person who asks, unless they may read the audit log. Others get the answer for unknown ids. */
export async function findDecision(
  audit: Pick<AuditLog, 'query'>,
  id: string,
  reader: { readonly name: string } | 'auditor',
): Promise<Decision> {
  const { items } = await audit.query({ decisionId: id, limit: 20 })
  // Several events may carry the id (the proxy's relay, the session's end); the one with the explanation is the decision.
  const event: Fields | undefined = items.find((item) => 'decision' in item) ?? items[0]
  const user = text(event?.['user'])
  if (event === undefined || (reader !== 'auditor' && user !== reader.name))
    throw new ProxyError('resource.not-found', `There is no decision ${id} that you may see.`, {
      side: 'client',
      next: 'A session’s decision reaches control when its agent uploads it; try again in a moment.',
    })
  const explanation = readExplanation(event['decision'])
  const shown =
    explanation === undefined || reader === 'auditor' ? explanation : redactExplanation(explanation)
  // The message of an SSH connection says what to do next: it is meant for who was turned away.
  const told = event['event'] === 'ssh.connection' ? event['error'] : event['message']
  const reason = text(told ?? event['reason'] ?? event['error'])
  return {
    id,
    timeMs: Date.parse(text(event['time'])) || 0,
    allowed: explanation?.allowed ?? event['success'] === true,
    user,
    target: targetOf(event),
    reason,
    ...(shown === undefined
      ? {}
      : // Explanations are JSON by their making; the interface says less.
        { explanation: JSON.parse(JSON.stringify(shown)) as Json, text: renderExplanation(shown) }),
  }
}

/** Events of SSH name no kind: they are of nodes alone. */
function targetOf(event: Fields): string {
  const kind = event['target_kind'] ?? ('db_service' in event ? 'db' : 'node')
  return `${text(kind)}/${text(event['db_service'] ?? event['target_name'])}`
}

function readExplanation(value: unknown): Explanation | undefined {
  const parsed: unknown = typeof value === 'string' ? parse(value) : value
  const whole =
    typeof parsed === 'object' &&
    parsed !== null &&
    'allowed' in parsed &&
    'check' in parsed &&
    'roles' in parsed &&
    'changes' in parsed &&
    'target' in parsed
  // A trimmed explanation is text with a mark, and no JSON any more.
  return whole ? (parsed as unknown as Explanation) : undefined
}

function parse(value: string): unknown {
  try {
    return JSON.parse(value)
  } catch {
    return undefined
  }
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
