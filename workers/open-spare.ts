// Opens a spare for one session: writes the open frame and what follows it at once, checks the agent's MACed answer, and says what
// came. Used by relayed sessions and by terminated ones; nothing is repeated here, and no byte of a session is read.

import type net from 'node:net'

import { max } from '../core/limits.ts'
import type { OpenRequest, SpareGrant } from '../core/messages.ts'
import { type AgentRefusal, readAnswer, writeOpen } from '../core/tunnel/open.ts'
import { adopt, unhear } from './handover.ts'

/** Exactly one of the first three is called, at most once; `bad` may come before `lost`. */
export interface SpareOutcome {
  /** The agent has the session. `rest`: bytes behind its answer. Take the socket over, or pause it, in this call. */
  accepted(spare: net.Socket, rest: Uint8Array): void
  /** The agent answered that it does not serve this; the spare is gone. */
  refused(reason: AgentRefusal): void
  /** It died or stayed silent before it answered: nothing reached a target, another may be tried. */
  lost(spare: net.Socket, how: string): void
  /** What came is no answer of the agent that parked it. */
  bad(how: string): void
}

/** Refusals of one agent that another agent of the target need not share. */
export type Elsewhere = Extract<AgentRefusal, 'drain' | 'no-target'>

export function servedElsewhere(reason: AgentRefusal): reason is Elsewhere {
  return reason === 'drain' || reason === 'no-target'
}

const NO_BYTES = new Uint8Array(0)

/** `first`: bytes that follow the frame at once. Returns the socket, which its owner destroys to give up. */
export function openSpare(
  grant: SpareGrant,
  open: OpenRequest,
  first: Uint8Array,
  nowMs: number,
  outcome: SpareOutcome,
): net.Socket {
  const spare = adopt(grant.handle)
  const expiresAtMs = nowMs + max('frameClockSkewMs')
  const frame = writeOpen(grant.key, { ...open, spareId: grant.spareId, expiresAtMs })
  spare.cork()
  spare.write(frame)
  if (first.length > 0) spare.write(first)
  spare.uncork()
  awaitAnswer(spare, grant, open.sessionId, outcome)
  return spare
}

function awaitAnswer(
  spare: net.Socket,
  grant: SpareGrant,
  sessionId: string,
  outcome: SpareOutcome,
): void {
  const to = { spareId: grant.spareId, sessionId }
  let held: Uint8Array = NO_BYTES
  const silent = setTimeout(() => lost('silent'), max('spareAcceptDeadlineMs'))
  const lost = (how: string): void => {
    clearTimeout(silent)
    // A spare that dies says nothing before it; half an answer is as wrong as a forged one.
    if (held.length > 0) outcome.bad(how)
    spare.removeAllListeners()
    spare.on('error', () => {})
    spare.destroy()
    outcome.lost(spare, how)
  }
  spare.on('error', () => lost('reset'))
  spare.on('end', () => lost('ended'))
  spare.on('close', () => lost('closed'))
  spare.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    const reading = readAnswer(held, grant.key, to)
    if (reading.verdict === 'more') return
    if (reading.verdict === 'bad') return lost(reading.code)
    clearTimeout(silent)
    unhear(spare)
    if (reading.frame.kind === 'accept') return outcome.accepted(spare, held.subarray(reading.end))
    spare.on('error', () => {})
    spare.destroy()
    outcome.refused(reading.frame.reason)
  })
}
