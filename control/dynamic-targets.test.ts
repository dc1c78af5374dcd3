// Databases that administrators register: which agents get them, what they are told, what follows a change; and what control says of
// the health of a database.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import {
  newMember,
  newPerson,
  newToken,
  startTestControl,
  type TestControl,
  type TestMember,
} from '../test/fixtures/control.ts'
import type { HealthReport, InventoryReply, JsonObject, Selector } from './api/messages.ts'

describe('A database resource', () => {
  let control: TestControl
  let agent: TestMember

  before(async () => {
    control = await startTestControl()
    agent = await newMember(control, 'agent', { targets: ['shop-*', 'fixed'] })
  })
  after(() => control.remove())

  async function write(name: string, env: string, spec: JsonObject = {}): Promise<void> {
    await control.admin.call('resource-put', {
      kind: 'db',
      name,
      force: true,
      document: {
        kind: 'db',
        version: 'v3',
        metadata: { name, labels: { env } },
        spec: { protocol: 'postgres', uri: 'db.test', ...spec },
      },
    })
  }

  async function announce(
    member: TestMember,
    selectors: readonly Selector[],
    own: readonly string[] = [],
    health: readonly HealthReport[] = [],
  ): Promise<InventoryReply> {
    const targets = own.map((name) => ({
      kind: 'db' as const,
      name,
      protocol: 'postgres',
      labels: {},
      description: '',
    }))
    return await member.client.call('inventory', { targets, selectors, health })
  }

  const PROD: readonly Selector[] = [{ env: ['prod', 'stage-*'] }]

  it('goes to agents that select its labels and whose token lists its name, with all they need', async () => {
    await write('shop-orders', 'prod', {
      uri: 'db.test:6543',
      tls: { mode: 'verify-ca', server_name: 'real.test', ca_cert: 'PEM' },
    })
    await write('shop-dev', 'dev')
    await write('ledger', 'prod')
    const reply = await announce(agent, PROD)
    assert.deepEqual(reply.dynamic, [
      {
        name: 'shop-orders',
        protocol: 'postgres',
        labels: { env: 'prod' },
        description: '',
        host: 'db.test',
        port: 6543,
        tls: { mode: 'verify-ca', serverName: 'real.test', trustSystemRoots: false, ca: 'PEM' },
      },
    ])
    assert.deepEqual(
      reply.accepted.map(({ name }) => name),
      ['shop-orders'],
    )
    assert.deepEqual((await announce(agent, [])).dynamic, [])
  })

  it('is not for an agent whose token lists no names, and the administrator is told why', async () => {
    const other = await newMember(control, 'agent')
    assert.deepEqual((await announce(other, [{ '*': ['*'] }])).dynamic, [])
    const { items } = await control.admin.call('targets', {})
    const refused = items.find(({ name }) => name === 'shop-dev')?.refused ?? []
    assert.match(refused[0]?.reason ?? '', /token does not list/)
    const { items: events } = await control.admin.call('audit-list', {
      types: 'target.claim_refused',
    })
    assert.deepEqual(events, [])
  })

  it('is served from the agent’s own address where its file has the name, under the resource’s labels', async () => {
    await write('fixed', 'prod')
    const reply = await announce(agent, PROD, ['fixed'])
    assert.deepEqual(
      reply.dynamic.map(({ name }) => name),
      ['shop-orders'],
    )
    const { items } = await control.admin.call('targets', {})
    const fixed = items.find(({ name }) => name === 'fixed')
    assert.deepEqual([fixed?.labels, fixed?.agents], [{ env: 'prod' }, [agent.id]])
  })

  it('follows its changes, and its name is free when it is removed', async () => {
    const before = await announce(agent, PROD)
    await write('shop-orders', 'stage-2', { uri: '[::1]:1234' })
    const changed = await announce(agent, PROD)
    assert.ok(changed.revision > before.revision)
    const orders = ({ dynamic }: InventoryReply): unknown[] =>
      dynamic
        .filter(({ name }) => name === 'shop-orders')
        .map(({ host, port, labels }) => [host, port, labels])
    assert.deepEqual(orders(changed), [['::1', 1234, { env: 'stage-2' }]])
    await write('shop-orders', 'dev')
    assert.deepEqual(orders(await announce(agent, PROD)), [])
    await write('shop-orders', 'prod')
    await announce(agent, PROD)
    await control.admin.call('resource-delete', { kind: 'db', name: 'shop-orders' })
    const { items } = await control.admin.call('targets', {})
    assert.equal(
      items.find(({ name }) => name === 'shop-orders'),
      undefined,
    )
    const heir = await newMember(control, 'agent')
    const { refused } = await announce(heir, [], ['shop-orders'])
    assert.deepEqual(refused, [])
  })

  it('leaves its name free also when it ends by its own date', async () => {
    const expires = new Date(Date.now() + 1000).toISOString()
    await control.admin.call('resource-create', {
      kind: 'db',
      document: {
        kind: 'db',
        version: 'v3',
        metadata: { name: 'shop-brief', labels: { env: 'prod' }, expires },
        spec: { protocol: 'postgres', uri: 'db.test' },
      },
    })
    await announce(agent, PROD)
    const there = (): Promise<boolean> =>
      control.admin.call('resource-get', { kind: 'db', name: 'shop-brief' }).then(
        () => true,
        () => false,
      )
    const endMs = performance.now() + 10_000
    while (await there()) assert.ok(performance.now() < endMs, 'it ends')
    const heir = await newMember(control, 'agent')
    assert.deepEqual((await announce(heir, [], ['shop-brief'])).refused, [])
  })

  it('is shown to administrators before any agent serves it', async () => {
    await write('lonely', 'nowhere')
    const { items } = await control.admin.call('targets', {})
    const { agents, status, reason } = items.find(({ name }) => name === 'lonely') ?? {}
    assert.deepEqual(
      [agents, status, reason],
      [[], 'offline', 'no agent serves it: db_service.resources of one must select its labels'],
    )
  })

  it('is healthy when one of its agents says so, and only who may see it hears', async () => {
    const token = await newToken(control, ['db'])
    const [one, two] = [
      await newMember(control, 'agent', { token }),
      await newMember(control, 'agent', { token }),
    ]
    await control.admin.call('resource-create', {
      kind: 'role',
      document: {
        kind: 'role',
        version: 'v7',
        metadata: { name: 'both' },
        spec: { allow: { db_labels: { '*': '*' }, db_users: ['app'], db_names: ['*'] } },
      },
    })
    const alice = await newPerson(control, 'alice', ['both'])
    const bob = await newPerson(control, 'bob', [])
    const seen = async (): Promise<unknown> => {
      const { items } = await alice.client.call('databases', { search: 'twice' })
      return items.map(({ status, reason }) => [status, reason])
    }
    const said = (status: HealthReport['status'], reason = ''): readonly HealthReport[] => [
      { name: 'twice', status, reason, sinceMs: 5 },
    ]
    await announce(one, [], ['twice'], said('unhealthy', 'refused'))
    assert.deepEqual(await seen(), [['unhealthy', 'refused']])
    await announce(two, [], ['twice'], [])
    assert.deepEqual(await seen(), [['unknown', '']])
    await announce(two, [], ['twice'], said('healthy'))
    assert.deepEqual(await seen(), [['healthy', '']])
    assert.deepEqual((await bob.client.call('databases', { search: 'twice' })).items, [])
    const { items } = await control.admin.call('targets', {})
    assert.deepEqual(
      items
        .find(({ name }) => name === 'twice')
        ?.servers.map(({ status }) => status)
        .sort(),
      ['healthy', 'unhealthy'],
    )
    // An agent speaks for its own names alone.
    await announce(agent, [], [], said('unhealthy', 'a lie'))
    assert.deepEqual(await seen(), [['healthy', '']])
  })

  it('is checked as the first health check that matches says, or not at all', async () => {
    const check = async (): Promise<unknown> => {
      const { accepted } = await announce(agent, [], ['fixed'])
      return accepted[0]?.check?.intervalMs
    }
    const put = async (name: string, spec: JsonObject): Promise<unknown> =>
      await control.admin.call('resource-put', {
        kind: 'health_check_config',
        name,
        force: true,
        document: { kind: 'health_check_config', version: 'v1', metadata: { name }, spec },
      })
    assert.equal(await check(), 30_000)
    const match = { db_labels: [{ name: 'env', values: ['prod'] }] }
    await put('b', { interval: '20s', match })
    await put('a', { interval: '10s', match: { db_labels: [{ name: 'env', values: ['test'] }] } })
    assert.equal(await check(), 20_000)
    await put('a', { interval: '10s', match })
    assert.equal(await check(), 10_000)
    await put('a', { match: { db_labels: [] } })
    await put('b', { interval: '20s', match: { ...match, disabled: true } })
    assert.equal(await check(), 30_000)
    await put('default', { match: { disabled: true } })
    assert.equal(await check(), undefined)
    await assert.rejects(put('c', { interval: '2s', timeout: '3s', match }), /timeout/)
  })
})

describe('The agent of control’s own machine', () => {
  it('serves resources when the file they share selects any', async (t) => {
    const control = await startTestControl()
    t.after(() => control.remove())
    await control.admin.call('resource-create', {
      kind: 'db',
      document: {
        kind: 'db',
        version: 'v3',
        metadata: { name: 'orders', labels: { env: 'prod' } },
        spec: { protocol: 'postgres', uri: 'db.test:5432' },
      },
    })
    const { token } = await control.handle.localToken('agent', ['db'])
    const agent = await newMember(control, 'agent', { token })
    const names = async (): Promise<readonly string[]> => {
      const request = { targets: [], selectors: [{ '*': ['*'] }] }
      const { dynamic } = await agent.client.call('inventory', request)
      return dynamic.map(({ name }) => name)
    }
    assert.deepEqual(await names(), [])
    await control.reload(
      'sluice: { insecure_keys: true }\ndb_service: { enabled: yes, resources: [{ labels: { env: prod } }] }\n',
    )
    assert.deepEqual(await names(), ['orders'])
  })
})
