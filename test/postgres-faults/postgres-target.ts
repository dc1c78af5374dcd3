// The PostgreSQL server as the target of faults. One that loses a backend to SIGKILL ends all others and starts itself again, as it
// would in production; nobody else restarts it.

import { eventually } from '../faults/eventually.ts'
import type { ForeignClock } from '../faults/foreign-clock.ts'
import { childrenOf } from '../faults/processes.ts'
import type { StruckTarget } from '../faults/strike.ts'
import type { TestPostgres } from '../fixtures/postgres.ts'

const RESTART_MS = 20_000
const SEEN_MS = 60_000

export class PostgresTarget implements StruckTarget {
  readonly #server: TestPostgres
  readonly #clock: ForeignClock

  constructor(server: TestPostgres, clock: ForeignClock) {
    this.#server = server
    this.#clock = clock
  }

  async kill(): Promise<void> {
    const [backend] = await this.#backends()
    if (backend === undefined) throw new Error('no session is there to be killed')
    const started = await this.#startedAt()
    process.kill(backend, 'SIGKILL')
    const again = async (): Promise<boolean> =>
      this.#startedAt().then(
        (now) => now !== started,
        () => false,
      )
    await eventually(again, RESTART_MS, 'PostgreSQL has started itself again')
  }

  /** The postmaster, and the backends of app's sessions. The superuser's stay awake. */
  async pids(): Promise<readonly number[]> {
    return [this.#server.pid, ...(await this.#backends())]
  }

  async jump(offsetMs: number): Promise<void> {
    this.#clock.jump(offsetMs)
    const seen = async (): Promise<boolean> => {
      const now = Number(await this.#server.sql('SELECT extract(epoch FROM now()) * 1000'))
      return Math.abs(now - Date.now() - offsetMs) < SEEN_MS
    }
    await eventually(seen, RESTART_MS, 'PostgreSQL sees its new time')
  }

  async #backends(): Promise<readonly number[]> {
    const rows = await this.#server.sql("SELECT pid FROM pg_stat_activity WHERE usename = 'app'")
    return rows.split('\n').filter(Boolean).map(Number)
  }

  /** Changes with every start of the postmaster's children: its own start does not, so the checkpointer's counts. */
  async #startedAt(): Promise<string> {
    const children = new Set(childrenOf(this.#server.pid))
    const rows = await this.#server.sql(
      "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'",
    )
    return children.has(Number(rows)) ? rows : ''
  }
}
