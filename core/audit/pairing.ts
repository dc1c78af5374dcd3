// Two hosts tell of every session: who relays or terminates it, and the agent (docs/decisions/0005). This finds the sessions of which
// one of them told and the other did not, so that neither can hide one. Pure and bounded; what is missing only counts when its host
// had time to tell, and a session that never reached the agent is the proxy's alone. It reports candidates; the log is asked last.

import type { Clock } from '../clock.ts'
import type { SystemRole } from '../identity.ts'
import { max } from '../limits.ts'

/** One side's word of a session. */
export interface Half {
  /** The same for both sides. */
  readonly key: string
  readonly sid: string
  readonly by: 'proxy' | 'agent'
  readonly teller: string
  /** Id of the host that should tell too; empty: some agent of the target. */
  readonly lacking: string
  readonly target: string
  readonly event: string
  readonly code: string
  readonly timeMs: number
  /**
   * `must`: the other side has told, or will. `may`: it has something to tell only if the session reached it; a `must` of the same
   * key says so later. `none`: this side denied by itself. `over`: it ended without having reached the other.
   */
  readonly other: 'must' | 'may' | 'none' | 'over'
}

/** A session that waited long enough for its other side. */
export interface Unmatched {
  readonly half: Half
  readonly sinceMs: number
  readonly reason: string
}

interface Waiting {
  half: Half
  readonly sinceMs: number
  dueMs: number
}

type Fields = Readonly<Record<string, unknown>>

export class Pairing {
  readonly #clock: Clock
  readonly #waiting = new Map<string, Waiting>()
  #lost = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  get size(): number {
    return this.#waiting.size
  }

  heard(half: Half): void {
    const known = this.#waiting.get(half.key)
    if (known !== undefined && known.half.by !== half.by) this.#waiting.delete(half.key)
    else if (known !== undefined) this.#again(known, half)
    else if (half.other !== 'over') this.#wait(half)
  }

  /**
   * What is due. `steady`: whether the host a half waits for was there all the while, so that its spool cannot lag any more. They
   * stay until `settle`, and may still be paired meanwhile.
   */
  due(steady: (half: Half) => boolean): readonly Unmatched[] {
    const nowMs = this.#clock.monotonic()
    const found: Unmatched[] = []
    for (const [key, waiting] of this.#waiting) {
      const { half, sinceMs, dueMs } = waiting
      const kept = nowMs - sinceMs >= max('pairKeepMs')
      if (half.other !== 'must') {
        if (kept || (half.other === 'none' && nowMs >= dueMs)) this.#waiting.delete(key)
        continue
      }
      if (nowMs < dueMs) continue
      if (steady(half)) found.push({ half, sinceMs, reason: 'its host was there and did not tell' })
      else if (kept) found.push({ half, sinceMs, reason: 'its host was away all the while' })
      else waiting.dueMs = nowMs + max('pairGraceMs')
    }
    return found
  }

  /** False: its other side came after all. */
  settle({ half }: Unmatched): boolean {
    const known = this.#waiting.get(half.key)
    return known?.half === half && this.#waiting.delete(half.key)
  }

  /** How many sessions were not compared since the last call, for want of room. */
  takeLost(): number {
    const lost = this.#lost
    this.#lost = 0
    return lost
  }

  #wait(half: Half): void {
    // Statements and ends alone say nothing new: their session was paired, or was never kept.
    if (!BEGINNINGS.has(half.code)) return
    if (this.#waiting.size >= max('pairsWaitingMax')) {
      this.#lost++
      return
    }
    const nowMs = this.#clock.monotonic()
    this.#waiting.set(half.key, { half, sinceMs: nowMs, dueMs: nowMs + max('pairGraceMs') })
  }

  #again(known: Waiting, half: Half): void {
    const { other } = known.half
    // The agent may have met it all the same, and tell later than the proxy: it is kept for that, and nothing is missed.
    const next = half.other === 'over' && other === 'may' ? 'none' : half.other
    if (next === 'over' || other === 'must' || other === next) return
    known.half = { ...known.half, other: next }
    known.dueMs = this.#clock.monotonic() + max('pairGraceMs')
  }
}

/** What an event says of a session with two sides; undefined for every other event. `emitter`: whose chain it came in. */
export function halfOf(
  event: Fields,
  emitter: { readonly id: string; readonly role: SystemRole },
): Half | undefined {
  const code = text(event['code'])
  const sid = text(event['sid'])
  if (sid === '' || emitter.role === 'control') return undefined
  const read = emitter.role === 'proxy' ? proxyHalf(code, event) : agentHalf(code, event)
  if (read === undefined) return undefined
  const { mode, lacking, other, target } = read
  const { id, role } = emitter
  const proxyId = role === 'proxy' ? id : lacking
  // In terminate mode the proxy does not say which agent it was: a target may have several.
  const agentId = mode === 'terminate' ? '' : role === 'agent' ? id : lacking
  return {
    key: JSON.stringify([mode, sid, proxyId, agentId]),
    sid,
    by: role,
    teller: id,
    lacking,
    target,
    event: text(event['event']),
    code,
    timeMs: Date.parse(text(event['time'])) || 0,
    other,
  }
}

interface Read {
  readonly mode: 'relay' | 'terminate'
  readonly lacking: string
  readonly target: string
  readonly other: Half['other']
}

/** Codes by which a session first appears. */
const BEGINNINGS: ReadonlySet<string> = new Set([
  'SLR001I',
  'TDB00I',
  'TDB00W',
  'SLR003I',
  'SLR003W',
  'SLR006I',
  'SLR006W',
])

function proxyHalf(code: string, event: Fields): Read | undefined {
  // The agent took the spare: it knows of the session, whatever became of it.
  if (code === 'SLR001I') {
    const target = text(event['target_name'])
    return { mode: 'relay', lacking: text(event['agent_id']), target, other: 'must' }
  }
  // A server without an agent tells nothing: its proxy alone does.
  if (event['server_addr'] !== undefined) return undefined
  const other = reached(code, event)
  if (other === undefined) return undefined
  return { mode: 'terminate', lacking: '', target: targetOf(event), other }
}

/** Whether the agent of a session that a proxy terminates must know of it. */
function reached(code: string, event: Fields): Half['other'] | undefined {
  switch (code) {
    case 'TDB00I':
    case 'SLR006I':
      return 'may'
    case 'TDB00W':
    case 'SLR006W':
      return 'none'
    case 'TDB01I':
    case 'SLR007I':
      return Number(event['bytes_from_target'] ?? 0) > 0 ? 'must' : 'over'
    case 'TDB06I':
      return undefined
    default:
      // A statement is taken when the target is logged in to, and never before.
      return text(event['event']).startsWith('db.session.') ? 'must' : undefined
  }
}

function agentHalf(code: string, event: Fields): Read | undefined {
  const target = targetOf(event)
  const forwarded = code === 'SLR003I' || code === 'SLR003W'
  if (!forwarded && !MET_BY_AGENT.has(code)) return undefined
  const lacking = text(event[forwarded ? 'forwarded_by' : 'proxy_id'])
  if (lacking === '') return undefined
  return { mode: forwarded ? 'terminate' : 'relay', lacking, target, other: 'must' }
}

/** Codes by which an agent tells of a session that a proxy relays to it. */
const MET_BY_AGENT: ReadonlySet<string> = new Set(['TDB00I', 'TDB00W', 'SLR006I', 'SLR006W'])

function targetOf(event: Fields): string {
  return text(event['db_service'] ?? event['target_name'])
}

function text(value: unknown): string {
  return typeof value === 'string' ? value : ''
}
