// Each driver's program three ways: with nothing in between, through `tsh proxy db` with a certificate of its own, and through
// `tsh proxy db --tunnel` in clear. What it tells must be the same, word for word.

import { equal, match } from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { type Driver, runDriver, type Target } from '../drivers/drivers.ts'
import { cell } from '../fixtures/cells.ts'
import { type Cluster, startCluster } from '../fixtures/cluster.ts'
import { directAccess } from '../fixtures/direct.ts'
import { openFolder, suiteCleanup } from '../fixtures/files.ts'
import { Tsh } from '../fixtures/tsh.ts'
import { carriedBy, type Mode } from './modes.ts'

interface Ways {
  readonly direct: Target
  readonly plain: Target
  readonly tunnel: Target
}

export interface DriverPlan {
  readonly matrix: string
  readonly modes: readonly Mode[]
  readonly drivers: readonly Driver[]
  readonly servers: readonly (15 | 18)[]
}

export function runDrivers({ matrix, modes, drivers, servers }: DriverPlan): void {
  for (const mode of modes)
    describe(`drivers in ${mode} mode`, () => {
      const cleanup = suiteCleanup()
      const ways = new Map<number, Ways>()
      let folder = ''
      before(async () => {
        const databases = servers.map((version) => [`pg${version}`, { version }] as const)
        const cluster = await startCluster(cleanup, {
          databases: Object.fromEntries(databases),
          ...carriedBy(mode),
        })
        const person = { user: 'driver', roles: ['access'], traits: TRAITS }
        const tsh = await Tsh.login(cleanup, cluster, person)
        folder = await openFolder(cleanup)
        for (const server of servers)
          ways.set(server, await open(tsh, cluster, `pg${server}`, cleanup))
      })
      for (const server of servers)
        for (const driver of drivers) {
          const place = { matrix, column: `PostgreSQL ${server}, ${mode}`, row: driver.name }
          it(`${driver.name} tells of PostgreSQL ${server} what it tells directly`, async (t) => {
            const to = ways.get(server)
            if (to === undefined) throw new Error('the cluster did not start')
            await cell(t, place, async () => {
              const direct = await told(driver, to.direct, folder)
              match(direct, /^goes on/m)
              equal(await told(driver, to.tunnel, folder), direct)
              equal(await told(driver, to.plain, folder), direct)
            })
          })
        }
    })
}

const TRAITS = { db_users: ['app'], db_names: ['*'] }

async function open(
  tsh: Tsh,
  cluster: Cluster,
  service: string,
  cleanup: Parameters<typeof directAccess>[0],
): Promise<Ways> {
  const names = ['--db-user=app', '--db-name=postgres']
  const { settings } = await directAccess(cleanup, cluster, service)
  const plain = await tsh.proxyDb([service, ...names])
  const tunnel = await tsh.proxyDb([service, ...names, '--tunnel'])
  return { direct: settings, plain, tunnel }
}

async function told(driver: Driver, target: Target, folder: string): Promise<string> {
  const { code, stdout, stderr } = await runDriver(driver, target, folder)
  equal(code, 0, `${driver.name}: ${stdout.slice(-2000)}${stderr}`)
  return stdout
}
