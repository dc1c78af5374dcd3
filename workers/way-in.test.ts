// The way in to a node's SSH at a proxy's worker: who passes, what is heard by whoever does not, and that what passes is the agent's and
// the client's own. TLS, certificates, policy and the agent's worker are real; both main threads are played by the test.

import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { describe, it } from 'node:test'

import { max } from '../core/limits.ts'
import type { ProxyAnswer } from '../core/questions.ts'
import type { Target } from '../core/snapshot.ts'
import { writeWanted } from '../core/ssh/way-in.ts'
import { systemIdentity } from '../test/fixtures/certificates.ts'
import { ALICE, ALICE_LOGIN, WEB } from '../test/fixtures/rights.ts'
import { ending, openSockets, until } from '../test/fixtures/sockets.ts'
import { pemPair, type PemPair, testCluster } from '../test/fixtures/tls.ts'
import {
  audited,
  ca,
  CLOSED,
  heard,
  HELLO,
  lineOn,
  lockOn,
  running,
  start,
} from './way-in.fixture.ts'

const other = testCluster()
const NO_SUCH = /^no no role of yours grants a node of this name/

describe('the way in to a node', () => {
  it('opens for a login certificate, carries both ways, is told of, and leaves nothing', async (context) => {
    const rig = await start(context)
    const before = openSockets()
    const client = await running(rig)
    const bulk = randomBytes(3_000_000)
    const arrived = rig.arrives(bulk.length)
    client.write(bulk)
    assert.deepEqual(await arrived, bulk)
    await rig.program().write(Buffer.from('pong\n'))
    assert.equal(await lineOn(client), 'pong')
    client.end()
    await rig.program().end()
    assert.match(await ending(client), CLOSED)
    await until(() => rig.ways.size === 0 && rig.agent.size === 0, 'both are over')
    assert.deepEqual(rig.asked, ['local/alice web-1'])
    assert.deepEqual(audited(rig), [
      ['SLR001I', 'alice', 'web-1'],
      ['SLR002I', undefined, undefined],
    ])
    const ended = rig.sent.find((message) => message.kind === 'ended')
    assert.ok(ended?.kind === 'ended' && ended.counters.fromClientBytes > bulk.length)
    client.destroy()
    await until(() => openSockets() === before, 'every socket is closed')
  })

  it('takes what follows the line along, whatever comes before the answer', async (context) => {
    const rig = await start(context)
    const client = await rig.client()
    client.write(Buffer.concat([writeWanted('web-1'), Buffer.from(HELLO)]))
    assert.equal(await lineOn(client), 'ok')
    assert.equal(await lineOn(client), 'IN')
  })

  it('answers the same for a node that does not exist and for one that is hidden', async (context) => {
    const hidden: Target = { ...WEB, labels: { env: 'dev' } }
    const rig = await start(context, {
      node: (name) => ({ what: 'node', ...(name === 'hidden' ? { target: hidden } : {}) }),
    })
    const [one, two] = [await heard(rig, 'hidden'), await heard(rig, 'nothing')]
    const id = /[0-9A-HJKMNP-TV-Z]{26}/
    assert.match(one, NO_SUCH)
    assert.equal(one.replace(id, ''), two.replace(id, ''))
    assert.ok(!rig.sent.some(({ kind }) => kind === 'need-spare'))
    assert.deepEqual(audited(rig), [
      ['SLR006W', 'alice', 'hidden'],
      ['SLR006W', 'alice', 'nothing'],
    ])
  })

  it('is closed to whoever has no login certificate of this cluster, and says so', async (context) => {
    const rig = await start(context)
    const past = ca.nowMs - 7_200_000
    assert.match(await heard(rig, 'web-1', 'nobody'), /^no no client certificate/)
    const wrong: readonly PemPair[] = [
      pemPair(other.user, ALICE_LOGIN, ca.nowMs),
      pemPair(ca.user, { ...ALICE_LOGIN, cluster: 'other.test' }, ca.nowMs),
      pemPair(ca.user, ALICE_LOGIN, past),
      pemPair(ca.host, systemIdentity('agent'), ca.nowMs),
    ]
    for (const shown of wrong) assert.match(await heard(rig, 'web-1', shown), /^no .*tsh login/)
    const routed = pemPair(ca.user, ALICE, ca.nowMs)
    assert.match(await heard(rig, 'web-1', routed), /^no the certificate is for one target/)
    assert.deepEqual(rig.asked, [])
    assert.equal(audited(rig).filter(([code]) => code === 'T3007W').length, wrong.length + 1)
  })

  it('is closed to whoever is locked or was reset, and while strict locks are stale', async (context) => {
    const locked = await start(context)
    locked.trust.apply(lockOn({ user: 'alice' }))
    assert.match(await heard(locked), /^no lock targeting/)
    const reset = await start(context)
    const generations = { 'user:local/alice': ALICE_LOGIN.generation + 1 }
    reset.trust.apply({ kind: 'locks', lockSet: { revision: 2, locks: [], generations } })
    assert.match(await heard(reset), /^no the account was reset/)
    const stale = await start(context, { stale: true })
    assert.match(await heard(stale), /^away locks cannot be checked/)
    for (const rig of [locked, reset, stale]) assert.deepEqual(rig.asked, [])
  })

  it('says what main said of somebody who asks too much', async (context) => {
    const message = 'too many nodes are asked for by this user at once'
    const rig = await start(context, { node: () => ({ what: 'no', kind: 'refused', message }) })
    assert.match(await heard(rig), /^no too many nodes/)
  })

  it('hears no line that never ends, and none that names nothing', async (context) => {
    const rig = await start(context)
    for (const line of [
      `node ${'x'.repeat(4096)}`,
      'GET / HTTP/1.1\r\n',
      'node \n',
      'node a b\n',
    ]) {
      const client = await rig.client()
      client.write(line)
      assert.match(await ending(client), CLOSED)
      client.destroy()
    }
    await until(() => rig.ways.size === 0, 'all are over')
    assert.deepEqual(rig.asked, [])
  })

  it('tries another spare when one dies, and says that none is there', async (context) => {
    const rig = await start(context, { dying: 2 })
    await running(rig)
    assert.equal(rig.sent.filter(({ kind }) => kind === 'need-spare').length, 3)
    assert.match(await heard(await start(context, { alone: true })), /^away .*no agent/)
    assert.match(await heard(await start(context, { dying: 1000 })), /^away .*spares were lost/)
  })

  it('says that the agent refuses', async (context) => {
    const node = (): ProxyAnswer => ({ what: 'node', target: { ...WEB, protocol: 'line' } })
    const rig = await start(context, { node })
    assert.match(await heard(rig), /^away .*refuses the session \(protocol\)/)
  })

  it('is cut a moment after a lock, which the agent has said, and at once when the proxy stops', async (context) => {
    const rig = await start(context)
    const client = await running(rig)
    const heardNext = async (line: string): Promise<void> => {
      client.write(line)
      assert.equal((await rig.arrives(line.length)).toString(), line)
    }
    rig.trust.apply(lockOn({ user: 'mallory' }))
    await heardNext('more\n')
    rig.trust.apply(lockOn({ user: 'alice' }))
    await heardNext('still\n')
    assert.match(await ending(client), CLOSED)
    await until(() => rig.ways.size === 0, 'it is over')
    const second = await start(context)
    const stopped = await running(second)
    await second.ways.stop()
    assert.match(await ending(stopped), CLOSED)
  })

  it('does not open for somebody who is locked while an agent is looked for', async (context) => {
    const found = Promise.withResolvers<ProxyAnswer>()
    const rig = await start(context, { node: () => found.promise })
    const client = await rig.client()
    client.write(writeWanted('web-1'))
    await until(() => rig.asked.length === 1, 'the name is looked up')
    rig.trust.apply(lockOn({ user: 'alice' }))
    found.resolve({ what: 'node', target: WEB })
    assert.match(await lineOn(client), /^no lock targeting/)
    assert.ok(!audited(rig).some(([code]) => code === 'SLR001I'))
  })

  it('leaves no more clients without a certificate waiting than its bound: the oldest goes', async (context) => {
    const rig = await start(context)
    const first = await rig.silent()
    const most = max('unprovenSessionsPerWorkerMax')
    await Promise.all(Array.from({ length: most }, () => rig.silent()))
    assert.match(await ending(first), CLOSED)
    await until(() => rig.ways.size <= most, 'the oldest is gone')
    assert.ok(rig.ways.size > most - 2)
  })
})
