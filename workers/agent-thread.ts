// An agent's worker thread: takes opened spares, checks the open frame before anything else, ends the client's TLS, decides, logs
// in to the target and relays. Everything it believes came signed by control; it asks main only for certificates and leases.

import { systemClock } from '../core/clock.ts'
import type { ServedTarget } from '../core/agent-target.ts'
import type { FromAgentWorker, ToAgentWorker, TrustMessage } from '../core/messages.ts'
import type { AgentAnswer, AgentQuestion } from '../core/questions.ts'
import { protocols } from '../protocols/registry.ts'
import { agentNode, type NodeOptions } from './agent-node.ts'
import { AgentSessions } from './agent-sessions.ts'
import { threadLogger } from './thread-log.ts'
import { threadPort } from './thread-port.ts'
import { tlsSelfTest } from './tls.ts'
import { isTrustMessage, Trust } from './trust.ts'

/** What main gives the thread at its start. */
export interface AgentThreadData {
  readonly cluster: string
  readonly agentId: string
  readonly hostname: string
  readonly auditBytesMax: number
  readonly trust: readonly TrustMessage[]
  /** Absent: this machine is no node. */
  readonly node?: NodeOptions
  readonly targets: readonly ServedTarget[]
  /** Server certificate for the names of the targets, PEM; absent until control accepted one. */
  readonly certificate?: string
  readonly key?: string
}

const port = threadPort<ToAgentWorker, FromAgentWorker>()
const data = port.data as AgentThreadData
const log = threadLogger('agent', port.slot)
const trust = new Trust()
const asked = new Map<number, (answer: AgentAnswer) => void>()
let asks = 0

for (const message of data.trust) trust.apply(message)

const sessions = new AgentSessions({
  cluster: data.cluster,
  agentId: data.agentId,
  hostname: data.hostname,
  auditBytesMax: data.auditBytesMax,
  protocols,
  trust,
  clock: systemClock,
  log,
  ...(data.node === undefined ? {} : { node: agentNode(data.node, data.agentId, trust) }),
  ask,
  send: (message) =>
    // The bytes of a chunk are its own buffer.
    port.send(message, message.kind === 'recording' ? [message.bytes.buffer] : []),
})
if (data.certificate !== undefined && data.key !== undefined)
  sessions.serve(data.targets, { certificate: data.certificate, key: data.key })

port.onMessage((message) => {
  if (isTrustMessage(message)) return trust.apply(message)
  switch (message.kind) {
    case 'targets':
      return sessions.serve(message.targets, { certificate: message.certificate, key: message.key })
    case 'spare':
      return sessions.take(message)
    case 'signal': {
      const { id, key } = message
      const hit = sessions.signal(key, message)
      return port.send({ kind: 'signal-answer', id, hit })
    }
    case 'statements-kept':
      return sessions.kept(message)
    case 'recording-kept':
      return sessions.recorded(message)
    case 'answer':
      asked.get(message.id)?.(message.answer)
      asked.delete(message.id)
      return
    case 'drain':
      void sessions.drain(message.deadlineMs).then(() => port.send({ kind: 'drained' }))
  }
})

port.onStop(() => sessions.stop())

await tlsSelfTest()
port.ready()

/** Main always answers: its own calls have deadlines. */
function ask(question: AgentQuestion): Promise<AgentAnswer> {
  const id = ++asks
  return new Promise((resolve) => {
    asked.set(id, resolve)
    port.send({ kind: 'ask', id, question })
  })
}
