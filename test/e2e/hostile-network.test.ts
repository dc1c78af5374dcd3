// The network between people, proxy and agents is hostile: it sees all bytes of all connections, and changes some. It learns server
// names and lengths; what it changes ends a connection and reaches nobody.

import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { before, describe, it } from 'node:test'

import { connectTo } from '../../cli/connect.ts'
import { createPerson, type Person } from '../../cli/quickstart/person.ts'
import { connectControl } from '../../control/api/client.ts'
import { type Cluster, type DatabaseAccess, startCluster } from '../fixtures/cluster.ts'
import { atEnd, suiteCleanup } from '../fixtures/files.ts'
import { freePort } from '../fixtures/net.ts'
import { psql } from '../fixtures/psql.ts'
import { Tap } from '../fixtures/tap.ts'

/** Past the handshake of psql: a client's hello, certificate and start-up take less than 4 KB, the answers less than 3 KB. */
const BEHIND_HANDSHAKE = 6000

describe('A hostile network', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let tap: Tap
  let person: Person
  let access: DatabaseAccess

  before(async () => {
    const publicPort = await freePort()
    tap = await Tap.start(cleanup, publicPort)
    cluster = await startCluster(cleanup, {
      databases: {
        orders: { version: 15, sql: ['CREATE TABLE kept (word text)', 'GRANT ALL ON kept TO app'] },
      },
      publicPort,
      publicAddress: `127.0.0.1:${tap.port}`,
    })
    const anonymous = connectControl({
      connect: connectTo(() => [`127.0.0.1:${tap.port}`]),
      trust: { pins: cluster.pins },
    })
    atEnd(cleanup, () => anonymous.close())
    person = await createPerson(cluster.admin, anonymous, {
      user: 'walter',
      roles: ['access'],
      traits: { db_users: ['app'], db_names: ['*'] },
    })
    const user = await cluster.logIn(person, anonymous)
    access = await user.database('orders')
  })

  it('sees neither password nor one-time secret of a login, nor a statement, a row or a user of a session', async () => {
    const marker = randomUUID()
    const { stdout, stderr } = await psql(access.conninfo, ['-c', `SELECT 'asked-${marker}'`])
    assert.equal(stdout.trim(), `asked-${marker}`, stderr)
    const { seen } = tap
    // The tap is where it should be: it saw the name that clients ask for.
    assert.ok(seen.includes(access.reply.serverName), 'the server name passed in clear')
    for (const [what, text] of [
      ['the password', person.password],
      ['the second factor', person.otpSecret],
      ['the statement', marker],
      ['the user', 'walter'],
      ['the start-up message', 'application_name'],
    ] as const)
      assert.equal(seen.includes(text), false, what)
  })

  for (const way of ['out', 'back'] as const)
    it(`a bit it changes on the way ${way} ends the session and reaches nobody`, async () => {
      const word = `${way}-${'x'.repeat(20_000)}`
      tap.flipOnce({ way, offset: BEHIND_HANDSHAKE })
      const { code, stdout } = await psql(access.conninfo, [
        '-c',
        `INSERT INTO kept VALUES ('${word}') RETURNING word`,
      ])
      assert.ok(tap.flipped, 'the bit was changed')
      assert.notEqual(code, 0)
      assert.equal(stdout.includes('x'), false, 'no row was believed')
      const { stdout: rows } = await psql(access.conninfo, ['-c', 'SELECT word FROM kept'])
      for (const row of rows.split('\n').filter((each) => each.startsWith(way)))
        assert.equal(row, word, 'what the database has is what was sent')
      if (way === 'out') assert.equal(rows.includes('out-'), false, 'a changed statement never ran')
    })
})
