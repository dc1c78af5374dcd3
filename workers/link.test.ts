import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { suite, test } from 'node:test'

import { max } from '../core/limits.ts'
import { splitSigned } from '../core/tunnel/link.ts'
import type { SpareOrder } from '../core/tunnel/link-frame.ts'
import { checkSpareTicket, mintSpareTicket } from '../core/tunnel/spare.ts'
import { systemIdentity, testCa, userIdentity } from '../test/fixtures/certificates.ts'
import { readBytes } from '../test/fixtures/net.ts'
import { ending, until } from '../test/fixtures/sockets.ts'
import { pemPair, tlsClient } from '../test/fixtures/tls.ts'
import { AGENT, agentRig, cluster, PROXY, proxyRig } from './link.fixture.ts'
import type { ProxyRig } from './link.fixture.ts'

const KEY = randomBytes(32)
const kinds = (proxy: ProxyRig): string[] => proxy.reports.map((report) => report.kind)

function order(spareId: string): SpareOrder {
  const preface = mintSpareTicket(KEY, {
    agentId: AGENT.id,
    proxyId: PROXY.id,
    spareId,
    issuedAtMs: cluster.nowMs,
    nonce: randomBytes(16),
  })
  return { spareId, preface }
}

suite('a link', () => {
  test('comes up between an agent and a proxy of one cluster', async (t) => {
    const proxy = await proxyRig(t)
    const { link, states } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up && proxy.reports.length === 2, 'the link and its first heartbeat')
    const [up, beat] = proxy.reports
    assert.ok(up?.kind === 'link-up' && beat?.kind === 'from-agent')
    assert.equal(up.agentId, AGENT.id)
    assert.deepEqual(up.services, ['db'], 'no service beyond the certificate’s')
    assert.equal(up.version, '0.1.0')
    assert.ok(beat.frame.type === 'heartbeat')
    assert.equal(beat.frame.lockRevision, 5)
    assert.deepEqual([states, link.proxyId], [['up'], PROXY.id])
  })

  test('carries signed values whole, locks ahead of the rest of a snapshot', async (t) => {
    const proxy = await proxyRig(t)
    const { link, signed } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    const body = randomBytes(3 * max('linkSignedPartBytes'))
    const signature = randomBytes(64)
    const [first, ...rest] = splitSigned({ kind: 'snapshot', body, signature })
    const locks = splitSigned({ kind: 'locks', body: body.subarray(0, 5), signature })
    assert.ok(first)
    for (const frame of [first, ...locks, ...rest]) proxy.hub.send(AGENT.id, frame)
    await until(() => signed.length === 2, 'both values')
    assert.deepEqual(
      signed.map((value) => [value.kind, value.body.length]),
      [
        ['locks', 5],
        ['snapshot', body.length],
      ],
    )
    assert.ok(Buffer.from(signed[1]?.body ?? '').equals(body))
  })

  test('stands while both ends answer pings', async (t) => {
    const proxy = await proxyRig(t)
    const { link, timers } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    for (let round = 0; round < 6; round++) {
      const before = proxy.reports.length
      timers.advance(max('linkPingMs'))
      proxy.timers.advance(max('linkPingMs'))
      await until(() => proxy.reports.length > before, 'a heartbeat')
    }
    assert.equal(link.up, true)
  })

  test('that falls silent ends on both sides, and is dialled again', async (t) => {
    const proxy = await proxyRig(t)
    const { link, timers, states } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    // Without a turn of the event loop in between, nothing is heard.
    timers.advance(4 * max('linkPingMs'))
    assert.deepEqual(states, ['up', 'the peer is silent'])
    assert.equal(link.up, false)
    await until(() => kinds(proxy).includes('link-down'), 'the proxy sees it')
    proxy.timers.clock.advance(4 * max('linkPingMs'))
    timers.advance(max('redialMinMs'))
    await until(() => link.up, 'the next link')
    assert.deepEqual(states, ['up', 'the peer is silent', 'up'])
  })

  test('of an agent that links again goes down before the new one is up', async (t) => {
    const proxy = await proxyRig(t)
    const first = agentRig(t, () => proxy.port)
    first.link.start()
    await until(() => first.link.up, 'the first link')
    const second = agentRig(t, () => proxy.port)
    second.link.start()
    await until(() => first.states.length === 2, 'the first link ends')
    assert.match(first.states[1] ?? '', /a newer link of the same agent/)
    assert.deepEqual([second.link.up, proxy.hub.size], [true, 1])
    assert.deepEqual(
      kinds(proxy).filter((kind) => kind !== 'from-agent'),
      ['link-up', 'link-down', 'link-up'],
    )
  })

  test('ends when its agent is locked', async (t) => {
    const proxy = await proxyRig(t)
    const { link, states } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    proxy.lock({ name: 'l', target: { server_id: 'somebody else' }, createdAtMs: 0 })
    assert.equal(proxy.hub.size, 1)
    proxy.lock({ name: 'l', target: { server_id: AGENT.id }, createdAtMs: 0 })
    await until(() => !link.up, 'the end')
    assert.match(states[1] ?? '', /login.locked/)
    assert.equal(proxy.hub.size, 0)
    assert.deepEqual(kinds(proxy).slice(-2), ['refused-link', 'link-down'])
  })

  test('ends when the agent stops, for good', async (t) => {
    const proxy = await proxyRig(t)
    const { link, timers } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    link.stop()
    await until(() => kinds(proxy).includes('link-down'), 'the end')
    assert.equal(timers.size, 1, 'the last frame may linger')
    timers.advance(60_000)
    assert.deepEqual([timers.size, proxy.raws.length], [0, 1])
  })

  test('is dialled until a proxy answers', async (t) => {
    const proxy = await proxyRig(t)
    let port = 1
    const { link, timers, states } = agentRig(t, () => port)
    link.start()
    await until(() => states.length === 1, 'a refused connection')
    port = proxy.port
    timers.advance(max('redialMinMs'))
    await until(() => link.up, 'the link')
  })
})

suite('a hostile proxy', () => {
  for (const [name, options, verdict] of [
    ['with an agent’s certificate', { identity: systemIdentity('agent') }, /TLS/],
    ['with a user’s certificate', { ca: cluster.user, identity: userIdentity() }, /TLS/],
    ['with a certificate of the target CA', { ca: cluster.target }, /TLS/],
    ['with a host CA of its own', { ca: testCa('host CA', cluster.nowMs) }, /TLS/],
    ['with control’s certificate', { identity: systemIdentity('control') }, /^cert.purpose/],
    ['whose clock is a minute off', { aheadMs: 61_000 }, /clocks differ: here it is 20/],
    ['that says it is another', { proxyId: AGENT.id }, /does not introduce itself/],
  ] as const)
    test(`${name} gets no link and is told nothing of the agent`, async (t) => {
      const proxy = await proxyRig(t, options)
      const { link, states } = agentRig(t, () => proxy.port)
      link.start()
      await until(() => states.length > 0, 'the agent’s verdict')
      assert.equal(link.up, false)
      assert.match(states[0] ?? '', verdict)
      assert.ok(!kinds(proxy).includes('from-agent'))
    })

  test('that sends what only agents send loses the link', async (t) => {
    const proxy = await proxyRig(t)
    const { link, states } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    proxy.hub.send(AGENT.id, { type: 'welcome', proxyId: 'another', nowMs: 0 })
    await until(() => !link.up, 'the end')
    assert.match(states[1] ?? '', /sends no welcome/)
  })
})

suite('a hostile agent', () => {
  for (const [name, options] of [
    ['with a proxy’s certificate', { identity: systemIdentity('proxy') }],
    ['with a user’s certificate', { ca: cluster.user, identity: userIdentity() }],
    ['with a host CA of its own', { ca: testCa('host CA', cluster.nowMs) }],
    ['that says it is another', { agentId: PROXY.id }],
  ] as const)
    test(`${name} gets no link and is told why`, async (t) => {
      const proxy = await proxyRig(t)
      const { link, states } = agentRig(t, () => proxy.port, options)
      link.start()
      await until(() => states.length > 0, 'the refusal')
      assert.match(states[0] ?? '', /the proxy refuses the link: (cert|protocol)\./)
      assert.equal(link.up, false)
      assert.deepEqual([kinds(proxy), proxy.hub.size], [['refused-link'], 0])
    })

  test('that TLS did not accept is refused, whatever else says yes', async (t) => {
    const facts = { serial: '1', fingerprint: '', notBeforeMs: 0, notAfterMs: 0 }
    const proxy = await proxyRig(t, { admit: () => ({ ok: true, identity: AGENT, facts }) })
    const { link, states } = agentRig(t, () => proxy.port, {
      ca: testCa('host CA', cluster.nowMs),
    })
    link.start()
    await until(() => states.length > 0, 'the refusal')
    assert.match(states[0] ?? '', /cert.chain/)
  })

  test('that never says hello is cut', async (t) => {
    const proxy = await proxyRig(t)
    const shown = pemPair(cluster.host, AGENT, cluster.nowMs)
    tlsClient(t, proxy.port, shown, { ALPNProtocols: ['sluice-link'] })
    await until(() => proxy.hub.size === 1, 'TLS')
    proxy.timers.advance(max('handshakeDeadlineMs'))
    await until(() => proxy.hub.size === 0, 'the end')
  })
})

suite('spares', () => {
  test('are dialled on order, present their ticket and are silent', async (t) => {
    const proxy = await proxyRig(t)
    const { link } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    proxy.hub.send(AGENT.id, { type: 'tickets', tickets: [order('a'), order('b')] })
    proxy.hub.send(AGENT.id, { type: 'dial-now', ticket: order('c') })
    await until(() => proxy.spares.length === 3 && link.idleSpares === 3, 'three spares')
    for (const { preface, said } of proxy.spares) {
      assert.equal(checkSpareTicket(KEY, preface, cluster.nowMs).ok, true)
      assert.equal(said(), 0)
    }
  })

  test('are handed over with their first bytes and the key of their link', async (t) => {
    const proxy = await proxyRig(t)
    const { link, opened, timers } = agentRig(t, () => proxy.port, {})
    link.start()
    await until(() => link.up, 'the link')
    proxy.hub.send(AGENT.id, { type: 'dial-now', ticket: order('a') })
    await until(() => proxy.spares.length === 1, 'the spare')
    const far = proxy.spares[0]?.socket
    far?.write('open frame')
    await until(() => opened.length === 1, 'the hand-over')
    const [spare] = opened
    const [up] = proxy.reports
    assert.ok(spare !== undefined && up?.kind === 'link-up')
    assert.deepEqual([spare.spareId, spare.proxyId, link.idleSpares], ['a', PROXY.id, 0])
    assert.equal(Buffer.from(spare.first).toString(), 'open frame')
    assert.deepEqual(Buffer.from(spare.key), Buffer.from(up.key), 'both ends derived it')
    // From here on it is not the link's: neither a lost link nor old age touches it.
    link.stop()
    timers.advance(3_600_000)
    spare.socket.write('accept')
    far?.removeAllListeners('data').pause()
    assert.equal((await readBytes(far ?? assert.fail(), 6)).toString(), 'accept')
  })

  test('that the proxy drops, and those of a lost link, are forgotten', async (t) => {
    const proxy = await proxyRig(t)
    const { link, timers } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    proxy.hub.send(AGENT.id, { type: 'tickets', tickets: [order('a'), order('b')] })
    await until(() => link.idleSpares === 2 && proxy.spares.length === 2, 'the spares')
    proxy.spares[0]?.socket.destroy()
    await until(() => link.idleSpares === 1, 'one is gone')
    const left = proxy.spares[1]?.socket
    assert.ok(left)
    timers.advance(4 * max('linkPingMs'))
    assert.equal(link.idleSpares, 0)
    assert.match(await ending(left), /end|close|ECONNRESET/)
  })

  test('over the limit are not dialled', async (t) => {
    const proxy = await proxyRig(t)
    const { link } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    const bound = max('sparesPerAgentMax')
    const tickets = Array.from({ length: bound }, (_, at) => order(`s${at}`))
    proxy.hub.send(AGENT.id, { type: 'tickets', tickets })
    proxy.hub.send(AGENT.id, { type: 'tickets', tickets: [order('more'), order('s0')] })
    await until(() => proxy.spares.length === bound, 'the spares')
    proxy.spares[0]?.socket.destroy()
    await until(() => link.idleSpares === bound - 1, 'room again')
    assert.equal(proxy.spares.length, bound)
  })

  test('of a draining agent go at once, and none is dialled afterwards', async (t) => {
    const proxy = await proxyRig(t)
    const { link, timers } = agentRig(t, () => proxy.port)
    link.start()
    await until(() => link.up, 'the link')
    proxy.hub.send(AGENT.id, { type: 'tickets', tickets: [order('a')] })
    await until(() => link.idleSpares === 1, 'the spare')
    link.drain('restart', 1000)
    assert.equal(link.idleSpares, 0)
    const drained = (): boolean =>
      proxy.reports.some((each) => each.kind === 'from-agent' && each.frame.type === 'drain')
    await until(drained, 'the proxy knows')
    proxy.hub.send(AGENT.id, { type: 'dial-now', ticket: order('b') })
    proxy.hub.cut(AGENT.id, 'enough')
    await until(() => !link.up, 'the link ends')
    timers.advance(60_000)
    assert.deepEqual([proxy.spares.length, proxy.raws.length, timers.size], [1, 1, 0])
  })
})
