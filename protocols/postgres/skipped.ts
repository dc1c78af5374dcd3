// Messages that got no answer of their own: passed over behind an error, or still open when the session ended. Finds the text of
// each Execute among the messages around it, and tells each execution once: the one that an earlier failure stands for is told.

import type { Observation } from '../../core/protocol.ts'
import { NO_PARAMETERS } from './asked.ts'
import { Names, type Portal } from './names.ts'
import {
  executionTold,
  type Failure,
  functionTold,
  type Outcome,
  queryTold,
  type Result,
} from './observations.ts'
import type { Pending, Query } from './pending.ts'

export class Skipped {
  readonly #names: Names
  /** What skipped Parses and Binds would have defined. */
  readonly #would = new Names(() => undefined)
  readonly #kind: 'skipped' | 'unanswered'
  /** A statement or portal whose failure was told, and with it the first execution that uses it. */
  #toldStatement: string | undefined
  #toldPortal: string | undefined

  /** `failed`: the message whose failure was told; absent when nothing failed. */
  constructor(names: Names, kind: 'skipped' | 'unanswered', failed?: Pending) {
    this.#names = names
    this.#kind = kind
    if (failed?.kind === 'parse') this.#toldStatement = failed.statement.name
    if (failed?.kind === 'bind') this.#toldPortal = failed.portal
    if (failed?.kind === 'describe') {
      if (failed.what === STATEMENT) this.#toldStatement = failed.name
      else this.#toldPortal = failed.name
    }
  }

  /** What is to be told of the next of them. */
  next(item: Pending): Observation | undefined {
    switch (item.kind) {
      case 'query': {
        const { failure } = item
        const outcome = failure === undefined ? this.#outcome(item) : failedOf(item, failure)
        return queryTold(item.statement, outcome, timed(item))
      }
      case 'function': {
        const { oid, parameters } = item
        return functionTold(oid, parameters, this.#outcome({ tags: [], rows: 0 }), timed(item))
      }
      case 'parse':
        if (item.statement.name === this.#toldStatement) this.#toldStatement = undefined
        this.#would.prepared(item.statement)
        return undefined
      case 'bind':
        return this.#bound(item)
      case 'execute':
        return this.#executed(item)
      case 'describe':
      case 'close':
      case 'startup':
      case 'sync':
      case 'copy-end':
        return undefined
    }
  }

  #bound(item: Pending & { kind: 'bind' }): undefined {
    if (item.statement === this.#toldStatement) {
      this.#toldStatement = undefined
      this.#toldPortal = item.portal
    } else if (item.portal === this.#toldPortal) this.#toldPortal = undefined
    const statement = this.#would.statement(item.statement) ?? this.#names.statement(item.statement)
    this.#would.boundTo(item.portal, statement, item.parameters, item.atMs)
  }

  #executed(item: Pending & { kind: 'execute' }): Observation | undefined {
    const known = this.#names.portal(item.portal)
    if (known !== undefined) known.executed = true
    if (item.portal === this.#toldPortal) {
      this.#toldPortal = undefined
      return undefined
    }
    const portal = this.#would.portal(item.portal) ?? known ?? unknownPortal(item.portal, item.atMs)
    return executionTold(portal, this.#outcome({ tags: [], rows: 0 }), timed(item))
  }

  #outcome({ tags, rows, commands = tags.length }: Result): Outcome {
    return this.#kind === 'skipped'
      ? { kind: 'skipped' }
      : { kind: 'unanswered', tags, commands, rows }
  }
}

/** Byte1 of Describe and Close: 'S' names a statement, 'P' a portal. */
export const STATEMENT = 0x53

export function unknownPortal(name: string, boundAtMs: number): Portal {
  return {
    name,
    statement: undefined,
    parameters: NO_PARAMETERS,
    boundAtMs,
    executed: true,
    uncertain: true,
  }
}

function failedOf({ tags, commands, rows }: Query, failure: Failure): Outcome {
  return { kind: 'failed', failure, tags, commands, rows }
}

function timed({ atMs }: Pending): { askedAtMs: number; atMs: number } {
  return { askedAtMs: atMs, atMs }
}
