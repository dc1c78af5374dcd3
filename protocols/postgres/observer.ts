// Statements of a session, made of the notes of session.ts: what was asked, with which parameters, what came of it, how long it
// took (README.md, "What is heard"). It follows the order of the server's answers, as the manual's "Message Flow" has it, and is
// exact or says why it is not: an answer that nobody asked for ends the session. Pure and bounded; it never touches a byte.

import { max } from '../../core/limits.ts'
import type { Observation, Observer } from '../../core/protocol.ts'
import { Body, NO_PARAMETERS } from './asked.ts'
import { Names } from './names.ts'
import {
  bindTold,
  closeTold,
  commandOf,
  commitFailedTold,
  executionTold,
  type Failure,
  functionTold,
  type Outcome,
  prepareTold,
  queryTold,
  refusedTold,
  rowsOf,
} from './observations.ts'
import { type Call, type Pending, PendingQueue, type Query } from './pending.ts'
import { Pieces } from './pieces.ts'
import { readPending } from './questions.ts'
import { Skipped, STATEMENT, unknownPortal } from './skipped.ts'
import { BACKEND, FIELD, NOTE_TARGET, TRANSACTION } from './wire.ts'

/** Names, text and parameters of a message, and the numbers around them. */
const BODY_BYTES_MAX = max('pgStatementBytesMax') + max('pgParametersBytesMax') + 1024

export class PostgresObserver implements Observer {
  readonly #report: (observation: Observation) => void
  readonly #asked = new PendingQueue()
  readonly #names = new Names((portal) => this.#report(bindTold(portal)))
  readonly #client = new Pieces(BODY_BYTES_MAX)
  readonly #target = new Pieces(BODY_BYTES_MAX)
  #fault: string | undefined
  #nowMs = 0
  /** The server passes over everything up to the next Sync. */
  #skipping: Skipped | undefined
  /** A COPY reads from the client: it passes over Syncs. */
  #copying = false
  /** Syncs that a COPY which failed may have read, or not: so many ReadyForQuery more may come. */
  #spare = 0

  constructor(report: (observation: Observation) => void) {
    this.#report = report
    this.#asked.push({ kind: 'startup', bytes: 0, atMs: 0 })
  }

  get fault(): string | undefined {
    return this.#fault
  }

  note(
    code: number,
    bytes: Uint8Array,
    from: number,
    to: number,
    rest: number,
    atMs: number,
  ): boolean {
    if (this.#fault !== undefined) return false
    this.#nowMs = atMs
    const ofTarget = code >= NOTE_TARGET
    const pieces = ofTarget ? this.#target : this.#client
    if (!ofTarget && !pieces.open && this.#asked.full) return false
    if (rest === 0 && !pieces.open) this.#message(code, new Body(bytes, from, to), atMs)
    else {
      pieces.add(bytes, from, to)
      if (rest > 0) return true
      const body = pieces.take()
      this.#message(code, new Body(body, 0, body.length), atMs)
    }
    return true
  }

  end(): void {
    const open = new Skipped(this.#names, 'unanswered')
    for (let item = this.#asked.pop(); item !== undefined; item = this.#asked.pop())
      this.#tell(open.next(item))
    this.#names.transactionEnded()
  }

  #message(code: number, body: Body, atMs: number): void {
    if (code >= NOTE_TARGET) this.#answered(code - NOTE_TARGET, body, atMs)
    else this.#ask(code, body, atMs)
  }

  #ask(code: number, body: Body, atMs: number): void {
    const item = readPending(code, body, this.#asked, atMs)
    if (item === undefined) return
    if (item.kind === 'copy-end') {
      if (this.#copying) this.#copying = false
      else if (this.#asked.size > 0 && this.#asked.last?.kind !== 'copy-end') this.#asked.push(item)
    } else if (item.kind === 'sync') {
      this.#skipping = undefined
      if (this.#copying) this.#spare++
      else this.#asked.push(item)
    } else if (this.#skipping !== undefined) this.#tell(this.#skipping.next(item))
    else this.#asked.push(item)
  }

  #answered(code: number, body: Body, atMs: number): void {
    while (this.#asked.head?.kind === 'copy-end') this.#asked.pop()
    const head = this.#asked.head
    switch (code) {
      case BACKEND.parseComplete:
        return head?.kind === 'parse' ? this.#parsed(head, atMs) : this.#unasked(code)
      case BACKEND.bindComplete:
        return head?.kind === 'bind' ? this.#bound(head) : this.#unasked(code)
      case BACKEND.closeComplete:
        return head?.kind === 'close' ? this.#closed(head) : this.#unasked(code)
      case BACKEND.noData:
        return head?.kind === 'describe' ? this.#done() : this.#unasked(code)
      case BACKEND.rowDescription:
        if (head?.kind === 'describe') return this.#done()
        return head?.kind === 'query' ? undefined : this.#unasked(code)
      case BACKEND.emptyQueryResponse:
        return this.#completed('', head, code, atMs)
      case BACKEND.commandComplete:
        return this.#completed(body.name(), head, code, atMs)
      case BACKEND.portalSuspended:
        if (head?.kind !== 'execute') return this.#unasked(code)
        return this.#executed(head, { kind: 'suspended', rows: head.rowsMax }, atMs)
      case BACKEND.functionCallResponse:
        if (head?.kind !== 'function') return this.#unasked(code)
        head.returned = true
        return undefined
      case BACKEND.copyInResponse:
        return this.#copyIn(head)
      case BACKEND.copyOutResponse:
      case BACKEND.copyBothResponse:
        return head?.kind === 'query' || head?.kind === 'execute' ? undefined : this.#unasked(code)
      case BACKEND.errorResponse:
        return this.#failed(head, readFailure(body), atMs)
      case BACKEND.readyForQuery:
        return this.#ready(head, body.u8(), atMs)
    }
    return undefined
  }

  #done(): void {
    this.#asked.pop()
  }

  #parsed(item: Pending & { kind: 'parse' }, atMs: number): void {
    this.#done()
    this.#names.prepared(item.statement)
    if (item.statement.name !== '')
      this.#report(prepareTold(item.statement, { askedAtMs: item.atMs, atMs }))
  }

  #bound(item: Pending & { kind: 'bind' }): void {
    this.#done()
    this.#names.bound(item.portal, item.statement, item.parameters, item.atMs)
  }

  #closed(item: Pending & { kind: 'close' }): void {
    this.#done()
    const what = item.what === STATEMENT ? 'statement' : 'portal'
    if (what === 'statement') this.#names.unprepared(item.name)
    else this.#names.unbound(item.name)
    // Drivers close what has no name to be sure; it says nothing.
    if (item.name !== '') this.#report(closeTold(what, item.name, item.atMs))
  }

  #completed(tag: string, head: Pending | undefined, code: number, atMs: number): void {
    if (head?.kind === 'execute') {
      return this.#executed(head, { kind: 'done', tags: [tag], rows: rowsOf(tag) }, atMs)
    }
    if (head?.kind !== 'query') return this.#unasked(code)
    this.#copying = false
    head.commands++
    if (head.commands <= max('pgCommandsMax')) head.tags.push(tag)
    head.rows = Math.min(head.rows + rowsOf(tag), Number.MAX_SAFE_INTEGER)
    this.#names.ran(commandOf(tag), head.statement.text)
  }

  #executed(item: Pending & { kind: 'execute' }, outcome: Outcome, atMs: number): void {
    this.#done()
    this.#copying = false
    const portal = this.#names.portal(item.portal) ?? unknownPortal(item.portal, item.atMs)
    portal.executed = true
    this.#report(executionTold(portal, outcome, { askedAtMs: item.atMs, atMs }))
    if (outcome.kind === 'done')
      for (const tag of outcome.tags) this.#names.ran(commandOf(tag), portal.statement?.text ?? '')
  }

  #copyIn(head: Pending | undefined): void {
    if (head?.kind !== 'query' && head?.kind !== 'execute')
      return this.#unasked(BACKEND.copyInResponse)
    const { syncs, ended } = this.#asked.dropCopy()
    this.#spare = syncs
    this.#copying = !ended
  }

  #failed(head: Pending | undefined, failure: Failure, atMs: number): void {
    this.#copying = false
    if (head === undefined || head.kind === 'startup' || head.kind === 'copy-end') return
    const timed = { askedAtMs: head.atMs, atMs }
    switch (head.kind) {
      case 'query':
      case 'function':
        head.failure = failure
        return
      case 'sync':
        return this.#report(commitFailedTold(failure, timed))
      case 'execute': {
        const portal = this.#names.portal(head.portal) ?? unknownPortal(head.portal, head.atMs)
        portal.executed = true
        this.#report(executionTold(portal, { kind: 'failed', failure, tags: [], rows: 0 }, timed))
        break
      }
      case 'parse':
        this.#report(refusedTold(head.statement, NO_PARAMETERS, failure, timed))
        break
      case 'bind':
        this.#report(
          refusedTold(this.#names.statement(head.statement), head.parameters, failure, timed),
        )
        break
      case 'describe':
      case 'close':
        this.#report(refusedTold(this.#described(head), NO_PARAMETERS, failure, timed))
    }
    this.#done()
    this.#skip(new Skipped(this.#names, 'skipped', head))
  }

  #described({ what, name }: { readonly what: number; readonly name: string }) {
    return what === STATEMENT ? this.#names.statement(name) : this.#names.portal(name)?.statement
  }

  /** What the server passes over: up to the next Sync, which may not have come yet. */
  #skip(skipped: Skipped): void {
    for (let item = this.#asked.head; item !== undefined; item = this.#asked.head) {
      if (item.kind === 'sync') return
      this.#done()
      this.#tell(skipped.next(item))
    }
    this.#skipping = skipped
  }

  #ready(head: Pending | undefined, status: number, atMs: number): void {
    if (head?.kind === 'sync' || head?.kind === 'startup') this.#done()
    else if (head?.kind === 'query' && (head.commands > 0 || head.failure !== undefined)) {
      this.#queried(head, atMs)
    } else if (head?.kind === 'function' && (head.returned || head.failure !== undefined)) {
      this.#called(head, atMs)
    } else if (this.#spare > 0) {
      this.#spare--
      this.#skipping = undefined
    } else return this.#unasked(BACKEND.readyForQuery)
    if (status === TRANSACTION.idle) this.#names.transactionEnded()
    return undefined
  }

  #queried(item: Query, atMs: number): void {
    this.#done()
    this.#copying = false
    const { statement, tags, commands, rows, failure } = item
    const outcome: Outcome =
      failure === undefined
        ? { kind: 'done', tags, commands, rows }
        : { kind: 'failed', failure, tags, commands, rows }
    this.#report(queryTold(statement, outcome, { askedAtMs: item.atMs, atMs }))
  }

  #called(item: Call, atMs: number): void {
    this.#done()
    const { oid, parameters, failure } = item
    const outcome: Outcome =
      failure === undefined
        ? { kind: 'done', tags: [], rows: 0 }
        : { kind: 'failed', failure, tags: [], rows: 0 }
    this.#report(functionTold(oid, parameters, outcome, { askedAtMs: item.atMs, atMs }))
  }

  #tell(observation: Observation | undefined): void {
    if (observation !== undefined) this.#report(observation)
  }

  #unasked(code: number): void {
    const type = `0x${code.toString(16)}`
    this.#fault = `the target sent a message of type ${type} that nothing asked for`
    this.#report({ code: 'TDB06I', fields: { payload: this.#fault }, askedAtMs: this.#nowMs })
  }
}

/** ErrorResponse: fields of Byte1 and String, a zero byte. */
function readFailure(body: Body): Failure {
  let sqlstate = ''
  let message = ''
  for (let type = body.u8(); type !== 0; type = body.u8()) {
    const { text } = body.text(max('pgErrorTextMax'))
    if (type === FIELD.code) sqlstate = text
    else if (type === FIELD.message) message = text
  }
  return { sqlstate, message }
}
