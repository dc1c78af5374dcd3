// Which text a name stands for: prepared statements and portals of one session, moved in the order of the server's answers, so
// that at each answer the tables say what the server's say. What SQL may have changed behind our back (DEALLOCATE, DECLARE …) is
// marked uncertain, never guessed. Bounded: the oldest goes first.

import { max } from '../../core/limits.ts'
import type { Parameters, Statement } from './asked.ts'

/** What an Execute runs. */
export interface Portal {
  readonly name: string
  /** Absent: nothing of ours defined it. */
  readonly statement: Statement | undefined
  readonly parameters: Parameters
  readonly boundAtMs: number
  executed: boolean
  /** SQL may have put another statement under this name since. */
  uncertain: boolean
}

interface Named {
  readonly statement: Statement
  uncertain: boolean
}

export class Names {
  readonly #statements = new Map<string, Named>()
  readonly #portals = new Map<string, Portal>()
  readonly #dropped: (portal: Portal) => void
  #bytes = 0

  /** `dropped` hears of each portal that nobody executed. */
  constructor(dropped: (portal: Portal) => void) {
    this.#dropped = dropped
  }

  prepared(statement: Statement): void {
    this.unprepared(statement.name)
    this.#statements.set(statement.name, { statement, uncertain: false })
    this.#bytes += statement.bytes
    for (const [name] of this.#statements) {
      const full =
        this.#statements.size > max('pgPreparedMax') || this.#bytes > max('pgPreparedBytesMax')
      if (!full || name === statement.name) return
      this.unprepared(name)
    }
  }

  unprepared(name: string): void {
    const known = this.#statements.get(name)
    if (known === undefined) return
    this.#bytes -= known.statement.bytes
    this.#statements.delete(name)
  }

  bound(name: string, statementName: string, parameters: Parameters, boundAtMs: number): void {
    const named = this.#statements.get(statementName)
    this.boundTo(name, named?.statement, parameters, boundAtMs, named?.uncertain)
  }

  boundTo(
    name: string,
    statement: Statement | undefined,
    parameters: Parameters,
    boundAtMs: number,
    uncertain: boolean = statement === undefined,
  ): void {
    const portal: Portal = { name, statement, parameters, boundAtMs, executed: false, uncertain }
    this.unbound(name)
    this.#portals.set(name, portal)
    const [oldest] = this.#portals.keys()
    if (this.#portals.size > max('pgPortalsMax') && oldest !== undefined) this.unbound(oldest)
  }

  unbound(name: string): void {
    const portal = this.#portals.get(name)
    if (portal === undefined) return
    this.#portals.delete(name)
    if (!portal.executed) this.#dropped(portal)
  }

  statement(name: string): Statement | undefined {
    return this.#statements.get(name)?.statement
  }

  portal(name: string): Portal | undefined {
    return this.#portals.get(name)
  }

  /** Portals end with their transaction. */
  transactionEnded(): void {
    if (this.#portals.size === 0) return
    for (const name of this.#portals.keys()) this.unbound(name)
  }

  /** A command ran that may have changed what names mean. `text` is that of the whole message it came with. */
  ran(tag: string, text: string): void {
    switch (tag) {
      case 'DEALLOCATE':
      case 'PREPARE':
        return this.#deallocated(text)
      case 'DEALLOCATE ALL':
      case 'DISCARD ALL':
        this.#statements.clear()
        this.#bytes = 0
        return
      // A savepoint that is rolled back takes portals with it; so does COMMIT inside of a pipeline.
      case 'COMMIT':
      case 'ROLLBACK':
      case 'DECLARE CURSOR':
      case 'CLOSE CURSOR':
      case 'CLOSE CURSOR ALL':
        for (const portal of this.#portals.values()) portal.uncertain = true
    }
  }

  #deallocated(text: string): void {
    // What drivers send: exactly one name. Anything else may mean any of them.
    const one = /^\s*DEALLOCATE\s+(?:PREPARE\s+)?(?:"([^"]+)"|([a-z_][a-z0-9_$]*))\s*;?\s*$/i.exec(
      text,
    )
    const name = one?.[1] ?? one?.[2]?.toLowerCase()
    if (name !== undefined) return this.unprepared(keyOf(name))
    for (const named of this.#statements.values()) named.uncertain = true
    for (const portal of this.#portals.values()) portal.uncertain = true
  }
}

/** Names in SQL are text, those in messages bytes. */
function keyOf(name: string): string {
  return Buffer.from(name).toString('latin1', 0, max('pgNameBytesMax'))
}
