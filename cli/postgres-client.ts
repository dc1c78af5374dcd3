// A small PostgreSQL client for `tsh db exec` and the quickstart: simple query protocol over TLS, text results. It is here
// so that a machine without psql can still ask a question; it is no driver. Protocol: PostgreSQL manual, "Frontend/Backend
// Protocol", message formats. Bounded: one message and one result have named maxima.

import type tls from 'node:tls'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { securePostgres, type SecurePostgres } from './postgres-tls.ts'

const PROTOCOL_3_0 = 196_608

export interface ConnectOptions extends SecurePostgres {
  readonly user: string
  readonly database: string
}

export interface QueryResult {
  readonly columns: readonly string[]
  readonly rows: readonly (readonly (string | null)[])[]
  /** `SELECT 3`, `INSERT 0 1`, … */
  readonly tag: string
}

/** An error the server sent, fields as the manual names them. */
export class PostgresError extends Error {
  override readonly name = 'PostgresError'
  readonly severity: string
  readonly sqlState: string
  readonly detail: string | undefined
  readonly hint: string | undefined

  constructor(fields: ReadonlyMap<string, string>) {
    super(fields.get('M') ?? 'unknown error')
    this.severity = fields.get('V') ?? fields.get('S') ?? 'ERROR'
    this.sqlState = fields.get('C') ?? 'XX000'
    this.detail = fields.get('D')
    this.hint = fields.get('H')
  }
}

interface Message {
  readonly code: string
  readonly body: Buffer
}

/** One connection, logged in. */
export class PostgresClient {
  readonly #socket: tls.TLSSocket
  readonly #messages: AsyncGenerator<Message>

  private constructor(socket: tls.TLSSocket) {
    this.#socket = socket
    this.#messages = readMessages(socket)
  }

  /** Connects and logs in. Throws PostgresError for what the server says, ProxyError when nobody answers. */
  static async connect(options: ConnectOptions): Promise<PostgresClient> {
    const client = new PostgresClient(await securePostgres(options))
    try {
      await client.#start(options)
      return client
    } catch (error) {
      client.close()
      throw error
    }
  }

  /** Runs one string of statements and returns the result of each. The first error is thrown after the server is ready again. */
  async query(sql: string): Promise<readonly QueryResult[]> {
    this.#socket.write(message('Q', cstring(sql)))
    try {
      return await this.#results()
    } catch (error) {
      // A length field that points behind its message.
      throw error instanceof RangeError ? malformed(error) : error
    }
  }

  async #results(): Promise<readonly QueryResult[]> {
    const results: QueryResult[] = []
    let columns: readonly string[] = []
    let rows: (readonly (string | null)[])[] = []
    let failure: PostgresError | undefined
    for (;;) {
      const { code, body } = await this.#next()
      if (code === 'T') columns = columnNames(body)
      else if (code === 'D') rows.push(boundedRow(rows.length, body))
      else if (code === 'C') {
        results.push({ columns, rows, tag: body.toString('utf8', 0, body.length - 1) })
        columns = []
        rows = []
      } else if (code === 'E') failure ??= new PostgresError(errorFields(body))
      else if (code === 'G' || code === 'W') throw copyRefused()
      else if (code === 'Z') break
    }
    if (failure !== undefined) throw failure
    return results
  }

  close(): void {
    this.#socket.end(message('X', Buffer.alloc(0)))
    this.#socket.destroySoon()
  }

  async #start(options: ConnectOptions): Promise<void> {
    const parameters = {
      user: options.user,
      database: options.database,
      application_name: 'tsh',
      client_encoding: 'UTF8',
    }
    const pairs = Object.entries(parameters).flatMap(([name, value]) => [
      cstring(name),
      cstring(value),
    ])
    const body = Buffer.concat([uint32(PROTOCOL_3_0), ...pairs, Buffer.alloc(1)])
    this.#socket.write(Buffer.concat([uint32(body.length + 4), body]))
    for (;;) {
      const { code, body: answer } = await this.#next()
      if (code === 'E') throw new PostgresError(errorFields(answer))
      if (code === 'R' && answer.readUInt32BE(0) !== 0)
        throw new ProxyError(
          'protocol.violation',
          'the database asks for a password, which tsh does not have',
          { side: 'target' },
        )
      if (code === 'Z') return
    }
  }

  async #next(): Promise<Message> {
    const next = await this.#messages.next()
    if (next.done !== true) return next.value
    throw new ProxyError(
      'dial.failed',
      'the connection was closed before the answer was complete',
      { side: 'target' },
    )
  }
}

async function* readMessages(socket: tls.TLSSocket): AsyncGenerator<Message> {
  let held: Buffer = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    while (held.length >= 5) {
      const length = held.readUInt32BE(1)
      if (length < 4 || length > max('clientMessageBytesMax'))
        throw new ProxyError(
          'limit.exceeded',
          `a message of ${length} bytes is more than tsh reads`,
          { side: 'target' },
        )
      if (held.length < 1 + length) break
      yield { code: String.fromCharCode(held[0] ?? 0), body: held.subarray(5, 1 + length) }
      held = held.subarray(1 + length)
    }
  }
}

function boundedRow(count: number, body: Buffer): readonly (string | null)[] {
  if (count >= max('clientRowsMax'))
    throw new ProxyError(
      'limit.exceeded',
      `more than ${max('clientRowsMax')} rows; use psql (tsh db connect) for large results`,
    )
  const cells: (string | null)[] = []
  let at = 2
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    const length = body.readInt32BE(at)
    at += 4
    cells.push(length < 0 ? null : body.toString('utf8', at, at + length))
    at += Math.max(0, length)
  }
  return cells
}

function columnNames(body: Buffer): readonly string[] {
  const names: string[] = []
  let at = 2
  for (let left = body.readUInt16BE(0); left > 0; left--) {
    const end = body.indexOf(0, at)
    names.push(body.toString('utf8', at, end))
    at = end + 1 + 18
  }
  return names
}

function errorFields(body: Buffer): ReadonlyMap<string, string> {
  const fields = new Map<string, string>()
  for (let at = 0; at < body.length && body[at] !== 0; ) {
    const end = body.indexOf(0, at + 1)
    if (end < 0) break
    fields.set(String.fromCharCode(body[at] ?? 0), body.toString('utf8', at + 1, end))
    at = end + 1
  }
  return fields
}

function malformed(cause: unknown): ProxyError {
  return new ProxyError('protocol.violation', 'the database sent a message that is no message', {
    side: 'target',
    cause,
  })
}

function copyRefused(): ProxyError {
  return new ProxyError('protocol.violation', 'COPY needs a client that can stream', {
    next: 'Use psql: tsh db connect.',
  })
}

function message(code: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(code), uint32(body.length + 4), body])
}

function cstring(text: string): Buffer {
  if (text.includes('\0'))
    throw new ProxyError('protocol.violation', 'text sent to PostgreSQL cannot hold a zero byte')
  return Buffer.from(`${text}\0`)
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
