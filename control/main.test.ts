// Control as a whole, over real TLS: database certificates and tickets, what agents get, watches and locks, leases, decisions,
// the audit log, restarts.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { readPem, readPemOne } from '../core/cert/pem.ts'
import { verifySigned } from '../core/cert/signed.ts'
import { verifyPeer } from '../core/cert/verify.ts'
import { readCertificate } from '../core/cert/x509.ts'
import { errorCode } from '../core/errors.ts'
import { Inventory } from '../core/inventory.ts'
import { systemClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { decodeLocks, decodeSnapshot } from '../core/snapshot-codec.ts'
import { type Kept, SnapshotKeeper } from '../core/snapshot-keeper.ts'
import { checkTicket, splitServerName } from '../core/tunnel/ticket.ts'
import {
  newKey,
  newMember,
  newPerson,
  startTestControl,
  type TestControl,
  type TestMember,
  type TestPerson,
} from '../test/fixtures/control.ts'
import type { InventoryReply, DbCertificate, WatchItem } from './api/messages.ts'

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'done'
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
}

async function serve(
  agent: TestMember,
  names: readonly string[],
  env: string,
  own: { readonly trustedAtMs?: number; readonly lockRevision?: number } = {},
): Promise<InventoryReply> {
  const targets = names.map((name) => ({
    kind: 'db' as const,
    name,
    protocol: 'postgres',
    labels: { env },
    description: `the ${name} database`,
  }))
  return await agent.client.call('inventory', { targets, ...own })
}

async function role(
  control: TestControl,
  name: string,
  allow: object,
  deny: object = {},
): Promise<void> {
  const document = { kind: 'role', version: 'v7', metadata: { name }, spec: { allow, deny } }
  await control.admin.call('resource-create', { kind: 'role', document: document as never })
}

let control: TestControl
let agent: TestMember
let proxy: TestMember
let alice: TestPerson

before(async () => {
  control = await startTestControl()
  proxy = await newMember(control, 'proxy')
  agent = await newMember(control, 'agent')
  await serve(agent, ['orders', 'stock'], 'dev')
  await role(
    control,
    'dev',
    { db_labels: { env: 'dev' }, db_users: ['app'], db_names: ['orders'] },
    { db_users: ['postgres'] },
  )
  alice = await newPerson(control, 'alice', ['dev'])
})
after(() => control.remove())

describe('database certificates', () => {
  it('name one target, and the server name carries a ticket that proxies can check', async () => {
    const { publicKey } = newKey()
    const reply = await alice.client.call('certificate-db', {
      service: 'orders',
      dbUser: 'app',
      publicKey,
    })
    const split = splitServerName(reply.serverName, 'sluice.test')
    assert.deepEqual(
      [split?.label, split?.kind, reply.proxies],
      ['orders', 'db', ['proxy.test:443']],
    )
    const { keys } = await proxy.client.call('ticket-keys', {})
    const opened = keys.map((key) => ({ ...key, key: Buffer.from(key.key, 'base64') }))
    const check = checkTicket(opened, split?.ticket ?? '', split?.rest ?? '', Date.now())
    assert.equal(check.verdict, 'good')
    const verified = verifyPeer(
      [readPem('CERTIFICATE', reply.certificate)[0] ?? new Uint8Array()],
      {
        cas: (await control.signer.authorities()).cas.user,
        purpose: 'client',
        type: 'user',
        cluster: 'sluice.test',
      },
      Date.now(),
    )
    assert.ok(verified.ok && verified.identity.type === 'user')
    assert.deepEqual(verified.identity.route, {
      kind: 'db',
      name: 'orders',
      protocol: 'postgres',
      principal: 'app',
    })
    assert.ok(reply.expiresAtMs <= (await alice.client.call('me', {})).expiresAtMs)
  })

  it('answer alike for databases that are not there and that may not be seen', async () => {
    const hidden = await newMember(control, 'agent')
    await serve(hidden, ['secret'], 'prod')
    const { publicKey } = newKey()
    const messages = await Promise.all(
      ['secret', 'absent'].map(async (service) => {
        const error: unknown = await alice.client
          .call('certificate-db', { service, publicKey })
          .catch((cause: unknown) => cause)
        return error instanceof Error ? error.message.replace(service, '…') : 'done'
      }),
    )
    assert.equal(messages[0], messages[1])
    const { items } = await alice.client.call('databases', {})
    assert.deepEqual(
      items.map((item) => item.name),
      ['orders', 'stock'],
    )
  })

  it('are listed with search, labels and pages', async () => {
    const names = async (request: object): Promise<readonly string[]> =>
      (await alice.client.call('databases', request)).items.map((item) => item.name)
    assert.deepEqual(await names({ search: 'STOCK database' }), ['stock'])
    assert.deepEqual(await names({ labels: 'env=dev' }), ['orders', 'stock'])
    assert.deepEqual(await names({ labels: 'env=prod' }), [])
    assert.deepEqual(await names({ query: 'labels["env"] == "dev"' }), ['orders', 'stock'])
    assert.deepEqual(await names({ query: 'search("stock database") && true' }), ['stock'])
    assert.deepEqual(await names({ query: 'hasPrefix(name, "o")', labels: 'env=dev' }), ['orders'])
    assert.deepEqual(await names({ query: 'resource.spec.protocol == "x"' }), [])
    // What may not be seen is not found by asking for it either.
    assert.deepEqual(await names({ query: 'name == "secret"' }), [])
    await assert.rejects(names({ query: 'labels.env = "dev"' }), {
      code: 'resource.invalid',
      message: 'The query is wrong at column 12: write == to compare.',
    })
    const page = await alice.client.call('databases', { limit: 1 })
    assert.deepEqual(
      [page.items[0]?.dbUsers, page.items[0]?.online, page.next],
      [['app'], true, 'orders'],
    )
    assert.deepEqual(await names({ cursor: 'orders' }), ['stock'])
  })

  it('only narrow: roles taken away since the login are gone', async () => {
    await role(control, 'extra', { db_labels: { env: 'prod' }, db_users: ['*'], db_names: ['*'] })
    const bob = await newPerson(control, 'bob', ['dev', 'extra'])
    const { publicKey } = newKey()
    assert.equal(
      await codeOf(bob.client.call('certificate-db', { service: 'secret', publicKey })),
      'done',
    )
    const { document } = await control.admin.call('resource-get', { kind: 'user', name: 'bob' })
    const changed = { ...document, spec: { roles: ['dev'] } }
    await control.admin.call('resource-put', { kind: 'user', name: 'bob', document: changed })
    assert.equal(
      await codeOf(bob.client.call('certificate-db', { service: 'secret', publicKey })),
      'resource.not-found',
    )
    const { certificate } = await bob.client.call('certificate-db', {
      service: 'orders',
      publicKey,
    })
    assert.ok(
      !Buffer.from(readPem('CERTIFICATE', certificate)[0] ?? [])
        .toString('latin1')
        .includes('extra'),
    )
  })
})

describe('certificates towards databases', () => {
  async function routed(service: string): Promise<DbCertificate> {
    return await alice.client.call('certificate-db', { service, publicKey: newKey().publicKey })
  }

  it('are for agents that serve the target, on a user’s certificate that policy allows', async () => {
    const { certificate } = await routed('orders')
    const [leaf = ''] = certificate.split(/(?<=-----END CERTIFICATE-----\n)/)
    const request = {
      target: 'orders',
      principal: 'app',
      userCertificate: leaf,
      publicKey: newKey().publicKey,
    }
    const reply = await agent.client.call('certificate-db-client', request)
    const subject = readCertificate(
      readPem('CERTIFICATE', reply.certificate)[0] ?? new Uint8Array(),
    ).subject
    assert.deepEqual(subject.attributes.map((each) => each.value).toSorted(), [
      'app',
      'orders',
      'sluice.test',
    ])
    const other = await newMember(control, 'agent')
    const ask = (member: TestMember, change: object): Promise<string> =>
      codeOf(member.client.call('certificate-db-client', { ...request, ...change }))
    assert.equal(await ask(other, {}), 'policy.denied')
    assert.equal(await ask(agent, { principal: 'postgres' }), 'policy.denied')
    assert.equal(await ask(agent, { principal: 'root' }), 'policy.denied')
    assert.equal(await ask(agent, { target: 'stock' }), 'policy.denied')
    assert.equal(await ask(agent, { resource: 'other' }), 'policy.denied')
    assert.equal(await ask(agent, { resource: 'orders' }), 'done')
    // A login certificate is for no target at all.
    const [login = ''] = alice.certificate.split(/(?<=-----END CERTIFICATE-----\n)/)
    assert.equal(await ask(agent, { userCertificate: login }), 'policy.denied')
  })

  it('come with pg_ident lines that admit no other database of the cluster', async () => {
    const { pgIdent, pgHba } = await control.admin.call('auth-sign', {
      format: 'db',
      hosts: ['db.internal', '10.0.0.5'],
      targets: ['orders'],
      ttlMs: 3_600_000,
      publicKey: newKey().publicKey,
    })
    const [, source = ''] = /^sluice {2}"\/(.+)" {2}\\1$/.exec(pgIdent[0] ?? '') ?? []
    const pattern = new RegExp(source)
    assert.equal(pattern.exec('CN=app,OU=orders,O=sluice.test')?.[1], 'app')
    for (const name of [
      'CN=app,OU=stock,O=sluice.test',
      'CN=app,OU=orders,O=sluiceXtest',
      'CN=a\\,OU=orders,O=sluice.test,OU=stock,O=sluice.test',
      'CN=app,OU=orders,O=sluice.test,C=X',
    ])
      assert.equal(pattern.exec(name), null, name)
    assert.match(pgHba[0] ?? '', /^hostssl .* cert .*clientname=DN/)
  })
})

describe('the watch', () => {
  async function* follow(
    member: TestMember,
    request: object = {},
  ): AsyncGenerator<WatchItem, undefined> {
    yield* member.client.stream('watch', { class: 'proxy', ...request })
  }

  function keeperOf(signers: readonly Uint8Array[]): SnapshotKeeper {
    return new SnapshotKeeper({
      class: 'proxy',
      clock: systemClock,
      saved: {
        signers: signers.map((spki) => Buffer.from(spki).toString('base64')),
        revision: 0,
        lockRevision: 0,
      },
      save: () => {},
    })
  }

  function accept(keeper: SnapshotKeeper, item: WatchItem): Kept {
    const payload =
      item.payload === undefined ? {} : { payload: Buffer.from(item.payload, 'base64') }
    const [body, signature] = [
      Buffer.from(item.body, 'base64'),
      Buffer.from(item.signature, 'base64'),
    ]
    return keeper.accept({ type: item.type, body, signature, ...payload })
  }

  it('begins with locks, then both classes, the inventory and a beacon, all signed', async () => {
    const { snapshot } = await control.signer.authorities()
    const keeper = keeperOf(snapshot)
    const seen: string[] = []
    let inventory: Inventory | undefined
    for await (const item of follow(proxy)) {
      const kept = accept(keeper, item)
      seen.push(kept.kind)
      if (kept.kind === 'inventory-base') inventory = new Inventory(kept.base, kept.revision)
      if (kept.kind === 'inventory-delta') assert.equal(inventory?.apply(kept.delta), true)
      if (kept.kind === 'beacon') break
    }
    assert.deepEqual(inventory?.byLabel('db', 'orders')?.agents, [agent.id])
    assert.deepEqual(seen.slice(0, 4), ['locks', 'other', 'snapshot', 'inventory-base'])
    assert.equal(seen.at(-1), 'beacon')
    assert.ok(keeper.staleMs() < 2000)
  })

  it('sends agents their class and never the inventory, users, tokens or keys', async () => {
    const text: string[] = []
    for await (const item of agent.client.stream('watch', { class: 'agent' })) {
      assert.notEqual(item.type, 'inventory')
      text.push(Buffer.from(item.body, 'base64').toString())
      if (item.type === 'beacon') break
    }
    const all = text.join('\n')
    for (const secret of ['alice', 'password', 'argon2', 'totp', 'token:', 'hostname', agent.id])
      assert.ok(!all.includes(secret), secret)
    assert.equal(await codeOf(proxy.client.stream('watch', { class: 'agent' }).next()), 'done')
    assert.equal(
      await codeOf(agent.client.stream('watch', { class: 'proxy' }).next()),
      'policy.denied',
    )
  })

  it('carries a lock within a second of its commit, ahead of everything', async () => {
    const { snapshot } = await control.signer.authorities()
    const stream = follow(proxy)
    for await (const item of { [Symbol.asyncIterator]: () => ({ next: () => stream.next() }) })
      if (item.type === 'beacon') break
    const start = performance.now()
    const document = {
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'w1' },
      spec: { target: { role: 'extra' } },
    }
    await control.admin.call('resource-create', { kind: 'lock', document })
    for (;;) {
      const { value } = await stream.next()
      assert.ok(value !== undefined)
      if (value.type !== 'locks') continue
      const body = Buffer.from(value.body, 'base64')
      assert.ok(verifySigned('locks', body, Buffer.from(value.signature, 'base64'), snapshot))
      assert.ok(decodeLocks(body).locks.some((lock) => lock.name === 'w1'))
      break
    }
    assert.ok(performance.now() - start < 1000)
    await stream.return(undefined)
    await control.admin.call('resource-delete', { kind: 'lock', name: 'w1' })
  })

  it('resumes: what the watcher holds is not sent again, changes are', async () => {
    const { snapshot } = await control.signer.authorities()
    const keeper = keeperOf(snapshot)
    let changed: readonly string[] = []
    const catchUp = async (until: Kept['kind']): Promise<readonly string[]> => {
      const { revision, lockRevision: locks, inventory } = keeper.held
      const kinds: string[] = []
      for await (const item of follow(proxy, { revision, locks, inventory })) {
        const kept = accept(keeper, item)
        kinds.push(kept.kind)
        if (kept.kind === 'inventory-delta') changed = kept.delta.put.map(({ ref }) => ref.name)
        if (kept.kind === until) return kinds
      }
      return kinds
    }
    await catchUp('beacon')
    assert.deepEqual(
      (await catchUp('beacon')).filter((kind) => kind !== 'other'),
      ['beacon'],
    )
    await serve(agent, ['orders', 'stock', 'third'], 'dev')
    assert.ok((await catchUp('inventory-delta')).includes('inventory-delta'))
    assert.deepEqual(changed, ['third'])
    await role(control, 'later', {})
    assert.ok((await catchUp('snapshot')).includes('snapshot'))
  })

  it('tells its member of the lock on it, and ends within a second', async () => {
    const doomed = await newMember(control, 'proxy')
    const stream = follow(doomed)
    await stream.next()
    const start = performance.now()
    const document = {
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'w2' },
      spec: { target: { server_id: doomed.id } },
    }
    await control.admin.call('resource-create', { kind: 'lock', document })
    let told: readonly string[] = []
    for (let next = await stream.next(); next.done !== true; next = await stream.next())
      if (next.value.type === 'locks')
        told = decodeLocks(Buffer.from(next.value.body, 'base64')).locks.map(({ name }) => name)
    assert.ok(told.includes('w2'), 'it was cut without a word')
    assert.ok(performance.now() - start < 1000)
    assert.equal(await codeOf(follow(doomed).next()), 'login.locked')
  })

  it('is not needed by an agent to hear of newer locks: whoever says which it holds is given them', async () => {
    const held = await serve(agent, ['orders', 'stock', 'third'], 'dev', { lockRevision: 0 })
    const body = Buffer.from(held.locks?.body ?? '', 'base64')
    const { snapshot } = await control.signer.authorities()
    assert.ok(
      verifySigned('locks', body, Buffer.from(held.locks?.signature ?? '', 'base64'), snapshot),
    )
    const { revision } = decodeLocks(body)
    for (const own of [{ lockRevision: revision }, {}])
      assert.equal((await serve(agent, ['orders', 'stock', 'third'], 'dev', own)).locks, undefined)
  })

  it('names the receivers that lack a lock', async () => {
    const document = {
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'w3' },
      spec: { target: { user: 'zed' } },
    }
    await control.admin.call('resource-create', { kind: 'lock', document })
    const { revision } = await control.admin.call('lock-receivers', { name: 'w3' })
    const report = (lockRevision: number): Promise<unknown> =>
      proxy.client.call('proxy-self', {
        address: 'proxy.test:443',
        linkedAgents: [agent.id],
        lockRevision,
        agentLockRevisions: { [agent.id]: lockRevision },
      })
    const lacks = async (): Promise<readonly string[]> =>
      (await control.admin.call('lock-receivers', { name: 'w3' })).lacking.map((each) => each.id)
    await report(revision - 1)
    assert.ok((await lacks()).includes(proxy.id) && (await lacks()).includes(agent.id))
    await report(revision)
    assert.ok(!(await lacks()).includes(proxy.id))
    assert.ok((await lacks()).includes(agent.id), 'a proxy’s word for an agent is not enough')
    const says = (trustedAtMs: number): Promise<unknown> =>
      serve(agent, ['orders', 'stock', 'third'], 'dev', { trustedAtMs })
    await says(Date.now() - max('trustLagMaxMs') - 1000)
    assert.ok((await lacks()).includes(agent.id), 'it lags behind')
    await says(Date.now())
    assert.ok(!(await lacks()).includes(agent.id))
  })
})

describe('leases', () => {
  it('count a person’s sessions over all agents, and belong to the agent that took them', async () => {
    const wish = { user: 'alice', issuer: 'local', decisionId: 'd', max: 1 }
    const { lease } = await agent.client.call('lease-take', wish)
    const other = await newMember(control, 'agent')
    assert.equal(await codeOf(other.client.call('lease-take', wish)), 'limit.exceeded')
    assert.equal(
      await codeOf(other.client.call('lease-take', { ...wish, issuer: 'github' })),
      'done',
    )
    assert.equal(await codeOf(other.client.call('lease-keep', { id: lease })), 'resource.not-found')
    await other.client.call('lease-release', { id: lease })
    assert.equal(await codeOf(agent.client.call('lease-keep', { id: lease })), 'done')
    await agent.client.call('lease-release', { id: lease })
    assert.equal(await codeOf(other.client.call('lease-take', wish)), 'done')
  })
})

describe('administration', () => {
  it('follows the rules of roles, and every change needs the revision that was read', async () => {
    const editor = await newPerson(control, 'ed', ['editor'])
    const list = await editor.client.call('resource-list', { kind: 'roles' })
    assert.ok(list.items.length >= 3)
    const { document } = await editor.client.call('resource-get', { kind: 'role', name: 'dev' })
    const put = (changed: object): Promise<string> =>
      codeOf(
        editor.client.call('resource-put', {
          kind: 'role',
          name: 'dev',
          document: changed as never,
        }),
      )
    assert.equal(await put(document), 'done')
    assert.equal(await put(document), 'resource.conflict')
    assert.equal(await codeOf(editor.client.call('audit-list', {})), 'policy.denied')
    assert.equal(
      await codeOf(alice.client.call('resource-list', { kind: 'roles' })),
      'policy.denied',
    )
    assert.equal((await editor.client.call('status', {})).cluster, 'sluice.test')
  })

  it('tells status, exports CAs and answers with its own document', async () => {
    const status = await control.admin.call('status', {})
    assert.deepEqual(status.pins, control.handle.pins)
    assert.equal(status.insecureKeys, true)
    assert.ok(status.agents.some((each) => each.id === agent.id && each.online))
    const { pem } = await control.admin.call('auth-export', { type: 'db-client' })
    assert.deepEqual(
      readPemOne('CERTIFICATE', pem),
      Buffer.from((await control.signer.authorities()).cas.db_client[0] ?? []),
    )
    assert.equal((await alice.client.call('openapi', {}))['openapi'], '3.1.0')
  })

  it('keeps the configuration an administrator wrote over what the file says', async () => {
    const { document } = await control.admin.call('resource-get', {
      kind: 'cap',
      name: 'cluster-auth-preference',
    })
    const spec = { type: 'local', second_factors: ['otp'], locking_mode: 'strict' }
    await control.admin.call('resource-put', {
      kind: 'cap',
      name: 'x',
      document: { ...document, spec },
    })
    const stream = agent.client.stream('watch', { class: 'agent' })
    for (;;) {
      const { value } = await stream.next()
      if (value?.type !== 'snapshot') continue
      if (decodeSnapshot(Buffer.from(value.body, 'base64')).config.lockingMode === 'strict') break
    }
    await stream.return(undefined)
  })
})
