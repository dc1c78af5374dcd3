// node-postgres with the types of the part that its program here uses: the package brings none.

import type { EventEmitter } from 'node:events'
import { createRequire } from 'node:module'

import type { Settings } from './settings.ts'

export interface Config extends Settings {
  readonly application_name?: string
  readonly max?: number
}

export interface Result {
  readonly command: string
  readonly rowCount: number | null
  readonly rows: readonly Readonly<Record<string, unknown>>[]
}

export interface Statement {
  readonly name: string
  readonly text: string
  readonly values: readonly unknown[]
}

interface Asks {
  query(statement: string | Statement, values?: readonly unknown[]): Promise<Result>
  end(): Promise<void>
}

/** A statement that can be cancelled. */
export interface Query {
  readonly text: string
}

export interface Client extends Asks, EventEmitter {
  connect(): Promise<void>
  query(statement: string | Statement, values?: readonly unknown[]): Promise<Result>
  query(query: Query): void
  cancel(client: Client, query: Query): void
}

interface Pg {
  readonly Client: new (config: Config) => Client
  readonly Pool: new (config: Config) => Asks
  readonly Query: new (text: string, callback: (error: Error | null) => void) => Query
}

export const pg: Pg = createRequire(import.meta.url)('pg') as Pg
