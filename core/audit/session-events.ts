// Renders the events of one session: what they have in common is written once per session, so that an event costs little more than
// its own values. The text is the canonical JSON of the event that event.ts would build, character for character (a test says so);
// what would not fit the bound of an event is built there.

import { canonicalJson } from '../cert/canonical.ts'
import { max } from '../limits.ts'
import { auditRow } from './catalogue.ts'
import { auditEvent, type EventFields } from './event.ts'

/** What tells one event of a session from the next. */
export interface EventInstance {
  readonly uid: string
  readonly timeMs: number
  /** Index inside the session. */
  readonly ei: number
}

/** Values of an event's own fields. */
export type OwnFields = Readonly<Record<string, Value | undefined>>

type Value = string | number | boolean | readonly string[]

/** Constant text, then the name of a field whose value follows it; the last has none. */
type Piece =
  | { readonly kind: 'text'; readonly text: string }
  | {
      readonly kind: 'field'
      readonly name: string
      readonly head: string
      /** The text that was last written here, and its member: one statement runs many times. */
      last: string | undefined
      member: string
    }

/** Of uid, time, names of the event; of a number, or the marks around a text. */
const INSTANCE_LENGTH = 256
const VALUE_LENGTH = 8
/** Of a member that a session keeps for its next event. */
const KEPT_LENGTH_MAX = 1024

const INSTANCE: ReadonlySet<string> = new Set(['uid', 'time', 'ei'])

export class SessionEvents {
  readonly #common: EventFields
  readonly #cluster: string
  readonly #commonLength: number
  readonly #plans = new Map<string, readonly Piece[]>()
  #timeMs = -1
  #time = ''

  constructor(common: EventFields, cluster: string) {
    this.#common = common
    this.#cluster = cluster
    const alone = auditEvent('', '', common, { uid: '', timeMs: 0, cluster })
    this.#commonLength = INSTANCE_LENGTH + canonicalJson(alone).length
  }

  /**
   * About how long the body of such an event will be; it may be several times as long when its values need escapes. Throws for a code
   * that the catalogue lacks: whoever renders later must not meet it.
   */
  lengthOf(code: string, own: OwnFields): number {
    this.#plan(code)
    let length = this.#commonLength
    for (const name in own) {
      const value = own[name]
      length += name.length + VALUE_LENGTH
      if (typeof value === 'string') length += value.length
      else if (typeof value === 'object')
        for (const item of value) length += item.length + VALUE_LENGTH
    }
    return length
  }

  /** The body of an event: fields that its row of the catalogue does not name are left out. */
  body(code: string, own: OwnFields, instance: EventInstance): string {
    const { uid, timeMs, ei } = instance
    if (timeMs !== this.#timeMs) {
      this.#timeMs = timeMs
      this.#time = new Date(timeMs).toISOString()
    }
    const written: OwnFields = { uid, time: this.#time, ei }
    let body = ''
    for (const piece of this.#plan(code)) {
      if (piece.kind === 'text') {
        body += body === '' ? piece.text : `,${piece.text}`
        continue
      }
      const value = INSTANCE.has(piece.name) ? written[piece.name] : own[piece.name]
      if (value === undefined) continue
      const member = memberOf(piece, value)
      body += body === '' ? member : `,${member}`
    }
    const whole = `{${body}}`
    return isWithin(whole, max('auditEventBytesMax')) ? whole : this.#bounded(code, own, instance)
  }

  #bounded(code: string, own: OwnFields, { uid, timeMs, ei }: EventInstance): string {
    const name = auditRow(code)?.name ?? ''
    const origin = { uid, timeMs, cluster: this.#cluster }
    return canonicalJson(auditEvent(name, code, { ...own, ...this.#common, ei }, origin))
  }

  #plan(code: string): readonly Piece[] {
    const known = this.#plans.get(code)
    if (known !== undefined) return known
    const plan = this.#drawPlan(code)
    this.#plans.set(code, plan)
    return plan
  }

  #drawPlan(code: string): readonly Piece[] {
    const row = auditRow(code)
    if (row === undefined) throw new TypeError(`there is no audit event ${code}`)
    const origin = { uid: '', timeMs: 0, cluster: this.#cluster }
    const constant = auditEvent(row.name, code, this.#common, origin)
    const names = [...new Set([...Object.keys(constant), ...row.fields])].sort()
    const pieces: Piece[] = []
    for (const name of names) {
      const head = `${JSON.stringify(name)}:`
      const value = INSTANCE.has(name) ? undefined : constant[name]
      const last = pieces.at(-1)
      if (value === undefined)
        pieces.push({ kind: 'field', name, head, last: undefined, member: '' })
      else if (last?.kind === 'text') {
        pieces[pieces.length - 1] = {
          kind: 'text',
          text: `${last.text},${head}${canonicalJson(value)}`,
        }
      } else pieces.push({ kind: 'text', text: `${head}${canonicalJson(value)}` })
    }
    return pieces
  }
}

function memberOf(piece: Extract<Piece, { kind: 'field' }>, value: Value): string {
  if (typeof value !== 'string') return `${piece.head}${rendered(value)}`
  if (value === piece.last) return piece.member
  const member = `${piece.head}${rendered(value)}`
  if (member.length > KEPT_LENGTH_MAX) return member
  piece.last = value
  piece.member = member
  return member
}

/** UTF-8 takes at most three bytes for what counts as one here. */
function isWithin(text: string, bytesMax: number): boolean {
  return text.length * 3 <= bytesMax || Buffer.byteLength(text) <= bytesMax
}

function rendered(value: Value): string {
  if (typeof value === 'string')
    return JSON.stringify(value.isWellFormed() ? value : value.toWellFormed())
  if (typeof value === 'boolean') return String(value)
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? String(value) : `"${value}"`
  return `[${value.map(rendered).join(',')}]`
}
