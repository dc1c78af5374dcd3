// The same client script run directly and through Sluice, to the same PostgreSQL: every byte the server says must be the same, but
// for the process id and secret key of BackendKeyData. A mode is a way through the proxy; the cluster is started for it.

import assert from 'node:assert/strict'
import net from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'

import fc from 'fast-check'

import { securePostgres } from '../../cli/postgres-tls.ts'
import { splitAddress } from '../../cli/supervisor/listeners.ts'
import { message } from '../fake/postgres-bytes.ts'
import { type Cluster, type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { atEnd, type Cleanup } from '../fixtures/files.ts'
import { startup } from '../fixtures/knock.ts'
import type { PostgresVersion, TestPostgres } from '../fixtures/postgres.ts'
import { psql } from '../fixtures/psql.ts'
import type { Output } from '../fixtures/processes.ts'
import { RESET, type Round, SCHEMA, script } from './client-script.ts'
import { pieces } from './engine.ts'

/** The recording mode of the cluster chooses the way; what another mode needs in sluice.yaml stands beside it. */
export const MODES: Readonly<Record<Mode, readonly string[]>> = {
  relay: [],
  terminate: ['session_recording: proxy'],
}
export type Mode = 'relay' | 'terminate'

const READY = 'Z'.charCodeAt(0)
const BACKEND_KEY = 'K'.charCodeAt(0)
/** A script that is not through by then has lost bytes. */
const SCRIPT_MS_MAX = 20_000

export class Differential {
  readonly #cluster: Cluster
  readonly #access: DatabaseAccess
  readonly #postgres: TestPostgres
  readonly #admin: Speaker

  private constructor(
    cluster: Cluster,
    access: DatabaseAccess,
    postgres: TestPostgres,
    admin: Speaker,
  ) {
    this.#cluster = cluster
    this.#access = access
    this.#postgres = postgres
    this.#admin = admin
  }

  static async start(
    cleanup: Cleanup,
    mode: Mode,
    version: PostgresVersion,
  ): Promise<Differential> {
    const cluster = await startCluster(cleanup, {
      databases: { orders: { version, sql: SCHEMA } },
      extra: { auth_service: MODES[mode] },
    })
    const user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    const access = await user.database('orders')
    const postgres = cluster.postgres.get('orders')
    assert.ok(postgres)
    const admin = new Speaker(await unixSocket(postgres))
    await admin.say([startup('postgres', 'postgres')])
    atEnd(cleanup, async () => void (await admin.end()))
    return new Differential(cluster, access, postgres, admin)
  }

  /** Both ways; throws when they differ. */
  async compare(rounds: readonly Round[]): Promise<void> {
    const direct = await this.#run(await unixSocket(this.#postgres), rounds)
    const through = await this.#run(await this.#proxied(), rounds)
    assert.ok(direct.equals(through), difference(direct, through))
  }

  /** Random scripts until the time is over. Returns how many were run. */
  async fuzz(budgetMs: number, seed: number): Promise<number> {
    let runs = 0
    let last: Promise<void> = Promise.resolve()
    const property = fc.asyncProperty(script, (rounds) => {
      runs++
      return (last = this.compare(rounds))
    })
    await fc.assert(property, {
      seed,
      numRuns: Number.MAX_SAFE_INTEGER,
      plugins: [fc.interruptAfterTimeLimit(budgetMs)],
      includeErrorInReport: true,
    })
    // The limit stops waiting for a run, not the run: whoever comes next would share the administrator's connection with it.
    await last
    return runs
  }

  /** One psql script, both ways: output, errors and exit status. */
  async psql(file: string): Promise<readonly [direct: Output, through: Output]> {
    const socket = `host=${this.#postgres.socket} port=${this.#postgres.port}`
    const direct = `${socket} user=app dbname=postgres`
    const outputs: Output[] = []
    for (const conninfo of [direct, this.#access.conninfo]) {
      await this.#reset()
      outputs.push(await psql(conninfo, ['-e', '-f', file]))
    }
    const [first, second] = outputs
    assert.ok(first && second)
    return [first, second]
  }

  async #run(connection: Duplex, rounds: readonly Round[]): Promise<Buffer> {
    await this.#reset()
    const speaker = new Speaker(connection)
    await speaker.say([startup('app', 'postgres')])
    for (const { bytes, cuts } of rounds) if (!speaker.over) await speaker.say(pieces(bytes, cuts))
    return await speaker.end()
  }

  async #reset(): Promise<void> {
    await this.#admin.say([message('Q', `${RESET}\0`)])
  }

  #proxied(): Promise<Duplex> {
    const { reply, key } = this.#access
    return securePostgres({
      addresses: [splitAddress(this.#cluster.proxy)],
      serverName: reply.serverName,
      ca: reply.serverCas,
      certificate: reply.certificate,
      key,
    })
  }
}

function unixSocket({ socket, port }: TestPostgres): Promise<net.Socket> {
  const connection = net.connect(join(socket, `.s.PGSQL.${port}`))
  return new Promise((resolve, reject) => {
    connection.once('connect', () => resolve(connection)).once('error', reject)
  })
}

/** Says a round, then listens until the server is ready again or gone. Keeps all it heard, keys masked. */
class Speaker {
  readonly #connection: Duplex
  readonly #heard: Buffer[] = []
  #pending: Buffer = Buffer.alloc(0)
  #ready = 0
  #over = false
  #wake: () => void = () => {}

  constructor(connection: Duplex) {
    this.#connection = connection
    connection.on('data', (chunk: Buffer) => {
      this.#pending = Buffer.concat([this.#pending, chunk])
      this.#take()
      this.#wake()
    })
    const gone = (): void => {
      this.#over = true
      this.#wake()
    }
    connection.on('end', gone).on('close', gone).on('error', gone)
  }

  get over(): boolean {
    return this.#over
  }

  async say(parts: readonly Uint8Array[]): Promise<void> {
    const ready = this.#ready
    for (const part of parts) {
      this.#connection.write(part)
      await new Promise((resolve) => setImmediate(resolve))
    }
    await this.#until(() => this.#ready > ready)
  }

  /** Terminate, then everything until the server closes. */
  async end(): Promise<Buffer> {
    if (!this.#over) this.#connection.write(message('X'))
    await this.#until(() => this.#over)
    this.#connection.destroy()
    return Buffer.concat([...this.#heard, this.#pending])
  }

  async #until(condition: () => boolean): Promise<void> {
    const deadline = setTimeout(() => this.#connection.destroy(), SCRIPT_MS_MAX)
    while (!condition() && !this.#over) {
      await new Promise<void>((resolve) => (this.#wake = resolve))
    }
    clearTimeout(deadline)
  }

  #take(): void {
    let at = 0
    while (at + 5 <= this.#pending.length) {
      const end = at + 1 + this.#pending.readUInt32BE(at + 1)
      if (end > this.#pending.length) break
      if (this.#pending[at] === READY) this.#ready++
      if (this.#pending[at] === BACKEND_KEY) this.#pending.fill(0, at + 5, end)
      at = end
    }
    this.#heard.push(this.#pending.subarray(0, at))
    this.#pending = this.#pending.subarray(at)
  }
}

function difference(direct: Buffer, through: Buffer): string {
  let at = 0
  while (at < direct.length && direct[at] === through[at]) at++
  const shown = (bytes: Buffer): string =>
    JSON.stringify(bytes.toString('latin1', at - 60, at + 100))
  return (
    `the server's bytes differ at ${at} of ${direct.length} and ${through.length}\n` +
    `directly:       ${shown(direct)}\nthrough Sluice: ${shown(through)}`
  )
}
