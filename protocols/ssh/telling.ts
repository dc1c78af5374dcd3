// What the audit log and the recorder hear of one program: an account is opened before it starts, sees its bytes before they pass, and
// is closed when it is over. One kind of account for each kind of program.

import type { AuditFields } from '../../core/protocol.ts'
import type { Exit } from '../../core/ssh/machine.ts'
import type { Plan } from './plan.ts'
import type { Served } from './served.ts'

/** How a program came to its end. */
export interface Over {
  readonly exit: Exit | undefined
  /** Why it did not begin, or was ended by us. */
  readonly error: string | undefined
  readonly reason: string
  readonly fromClientBytes: number
  readonly fromTargetBytes: number
}

export interface Account {
  /** It runs. */
  begun(): void
  /** Its standard input. A throw ends it, as in all three. */
  fromClient(bytes: Uint8Array): Promise<void> | undefined
  /** Its standard output, or its terminal. */
  fromProgram(bytes: Uint8Array): Promise<void> | undefined
  resized(columns: number, rows: number): Promise<void> | undefined
  /** Once, also when it never began. Resolves when all that was recorded is where it belongs. */
  over(over: Over): Promise<void>
}

/** A command without a terminal, and copies by scp. */
export class CommandAccount implements Account {
  readonly #served: Served
  readonly #plan: Plan

  constructor(served: Served, plan: Plan) {
    this.#served = served
    this.#plan = plan
  }

  begun(): void {
    this.#served.tell('SLH001I', this.#fields())
  }

  fromClient(): undefined {
    return undefined
  }

  fromProgram(): undefined {
    return undefined
  }

  resized(): undefined {
    return undefined
  }

  over(over: Over): Promise<void> {
    const { exit, error } = over
    const good = error === undefined && exit?.kind === 'status' && exit.code === 0
    const fields = { ...this.#fields(), ...exitFields(exit), ...errorOf(over) }
    this.#served.tell(`${this.#code()}${good ? 'I' : 'E'}`, fields)
    this.#served.tell('T2006I', bytesOf(over))
    return Promise.resolve()
  }

  #code(): string {
    const { copy } = this.#plan
    if (copy === undefined) return 'T3002'
    return copy.action === 'download' ? 'T3004' : 'T3005'
  }

  #fields(): AuditFields {
    const { fields, copy, program } = this.#plan
    const own = copy === undefined ? {} : { path: copy.path, action: copy.action }
    return { ...fields, ...own, interactive: program.kind === 'shell' }
  }
}

export function exitFields(exit: Exit | undefined): AuditFields {
  if (exit === undefined) return {}
  return exit.kind === 'status' ? { exit_code: exit.code } : { exit_signal: exit.name }
}

export function bytesOf({ fromClientBytes, fromTargetBytes }: Over): AuditFields {
  return { bytes_from_client: fromClientBytes, bytes_from_target: fromTargetBytes }
}

function errorOf({ error }: Over): AuditFields {
  return error === undefined ? {} : { error }
}
