// Passwords of database users in control: who may set them, who gets them, and that nothing else ever shows one.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import { readPem, writePem } from '../core/cert/pem.ts'
import { errorCode } from '../core/errors.ts'
import {
  newKey,
  newMember,
  newPerson,
  newToken,
  startTestControl,
  type TestControl,
  type TestMember,
  type TestPerson,
} from '../test/fixtures/control.ts'
import type { DbClientCertificate } from './api/messages.ts'

const PASSWORD = 'Tr0ub4dor&3-never-on-disk'

async function codeOf(promise: Promise<unknown>): Promise<string> {
  return await promise.then(
    () => 'done',
    (error: unknown) => errorCode(error) ?? String(error),
  )
}

describe('A stored database password', () => {
  let control: TestControl
  let token: string
  let agent: TestMember
  let alice: TestPerson

  before(async () => {
    control = await startTestControl()
    token = await newToken(control, ['db'])
    agent = await newMember(control, 'agent', { token })
    await announce(agent, ['orders'])
    const spec = {
      allow: { db_labels: { '*': '*' }, db_users: ['app', 'legacy'], db_names: ['*'] },
    }
    const document = { kind: 'role', version: 'v7', metadata: { name: 'dev' }, spec }
    await control.admin.call('resource-create', { kind: 'role', document })
    alice = await newPerson(control, 'alice', ['dev'])
  })
  after(() => control.remove())

  async function announce(member: TestMember, names: readonly string[]): Promise<void> {
    const targets = names.map((name) => ({
      kind: 'db' as const,
      name,
      protocol: 'postgres',
      labels: {},
      description: '',
    }))
    await member.client.call('inventory', { targets })
  }

  async function ask(
    member: TestMember,
    principal: string,
    target = 'orders',
  ): Promise<DbClientCertificate> {
    const { certificate } = await alice.client.call('certificate-db', {
      service: target,
      publicKey: newKey().publicKey,
    })
    return await member.client.call('certificate-db-client', {
      target,
      principal,
      userCertificate: writePem('CERTIFICATE', ...readPem('CERTIFICATE', certificate).slice(0, 1)),
      publicKey: newKey().publicKey,
    })
  }

  it('comes beside the certificate of its pair, and of no other', async () => {
    await control.admin.call('db-credential-put', {
      database: 'orders',
      dbUser: 'legacy',
      password: PASSWORD,
      methods: ['md5'],
    })
    const { stored } = await ask(agent, 'legacy')
    assert.deepEqual(stored, { password: PASSWORD, methods: ['scram', 'md5'] })
    assert.equal((await ask(agent, 'app')).stored, undefined)
  })

  it('is given to nobody whom control refuses the certificate', async () => {
    const stranger = await newMember(control, 'agent')
    assert.equal(await codeOf(ask(stranger, 'legacy')), 'policy.denied')
    await control.admin.call('db-credential-put', {
      database: 'orders',
      dbUser: 'postgres',
      password: PASSWORD,
      methods: [],
    })
    assert.equal(await codeOf(ask(agent, 'postgres')), 'policy.denied')
  })

  it('is listed without itself, audited without itself, and in clear in no file of control', async () => {
    const { items } = await control.admin.call('db-credential-list', {})
    assert.deepEqual(
      items.map(({ changedAtMs: _, ...each }) => each),
      [
        {
          database: 'orders',
          dbUser: 'legacy',
          methods: ['scram', 'md5'],
          inUse: true,
          changedBy: '@local',
        },
        {
          database: 'orders',
          dbUser: 'postgres',
          methods: ['scram'],
          inUse: true,
          changedBy: '@local',
        },
      ],
    )
    const { items: events } = await control.admin.call('audit-list', {
      types: 'db.credential.set',
    })
    assert.deepEqual(
      events.map((event) => [event['db_service'], event['db_user'], event['methods']]),
      [
        ['orders', 'postgres', ['scram']],
        ['orders', 'legacy', ['scram', 'md5']],
      ],
    )
    let files = 0
    for (const file of filesBelow(control.folder)) {
      files++
      const bytes = readFileSync(file)
      for (const form of [PASSWORD, Buffer.from(PASSWORD).toString('base64').slice(0, 28)])
        assert.equal(bytes.includes(form), false, file)
    }
    assert.ok(files > 5)
  })

  it('cannot be set by who may not change databases, nor for a name that nobody offers', async () => {
    const wish = { database: 'orders', dbUser: 'app', password: PASSWORD, methods: [] }
    assert.equal(await codeOf(alice.client.call('db-credential-put', wish)), 'policy.denied')
    assert.equal(await codeOf(alice.client.call('db-credential-list', {})), 'policy.denied')
    assert.equal(
      await codeOf(control.admin.call('db-credential-put', { ...wish, database: 'nothing' })),
      'resource.not-found',
    )
    assert.equal(
      await codeOf(control.admin.call('db-credential-put', { ...wish, password: 'a\0b' })),
      'resource.invalid',
    )
  })

  it('stays with the owner of the name: another one’s agents of that name get none', async () => {
    await control.admin.call('resource-create', {
      kind: 'db',
      document: {
        kind: 'db',
        version: 'v3',
        metadata: { name: 'moved', labels: { env: 'dev' } },
        spec: { protocol: 'postgres', uri: 'db.test:5432' },
      },
    })
    const wish = { database: 'moved', dbUser: 'legacy', password: PASSWORD, methods: [] }
    await control.admin.call('db-credential-put', wish)
    await control.admin.call('resource-delete', { kind: 'db', name: 'moved' })
    await announce(agent, ['orders', 'moved'])
    assert.equal((await ask(agent, 'legacy', 'moved')).stored, undefined)
    const { items } = await control.admin.call('db-credential-list', {})
    assert.equal(items.find(({ database }) => database === 'moved')?.inUse, false)
  })

  it('is replaced, and gone when it is removed', async () => {
    const wish = { database: 'orders', dbUser: 'legacy', password: 'another', methods: [] }
    await control.admin.call('db-credential-put', wish)
    assert.deepEqual((await ask(agent, 'legacy')).stored, {
      password: 'another',
      methods: ['scram'],
    })
    const name = { database: 'orders', dbUser: 'legacy' }
    await control.admin.call('db-credential-delete', name)
    assert.equal((await ask(agent, 'legacy')).stored, undefined)
    assert.equal(
      await codeOf(control.admin.call('db-credential-delete', name)),
      'resource.not-found',
    )
    const { items } = await control.admin.call('audit-list', { types: 'db.credential.delete' })
    assert.equal(items.length, 1)
  })
})

function* filesBelow(folder: string): Generator<string> {
  for (const name of readdirSync(folder)) {
    const file = path.join(folder, name)
    const stats = statSync(file)
    if (stats.isDirectory()) yield* filesBelow(file)
    else if (stats.isFile()) yield file
  }
}
