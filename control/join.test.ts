// How agents and proxies become members, renew, and betray a copy; who owns which target name.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { readPem } from '../core/cert/pem.ts'
import { readTargetNames } from '../core/cert/x509.ts'
import { errorCode } from '../core/errors.ts'
import {
  newCsr,
  newMember,
  newToken,
  startTestControl,
  type TestControl,
  type TestMember,
} from '../test/fixtures/control.ts'
import type { InventoryReply } from './api/messages.ts'

let control: TestControl

before(async () => {
  control = await startTestControl({
    yaml: 'sluice: { insecure_keys: true }\nauth_service: { tokens: ["db:static-secret-of-the-file"] }\n',
  })
})
after(() => control.remove())

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'done'
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
}

function announce(
  member: TestMember,
  names: readonly string[],
  csr?: string,
): Promise<InventoryReply> {
  const targets = names.map((name) => ({
    kind: 'db' as const,
    name,
    protocol: 'postgres',
    labels: { env: 'test' },
    description: '',
  }))
  return member.client.call('inventory', csr === undefined ? { targets } : { targets, csr })
}

function joinWith(token: string, change: Readonly<Record<string, unknown>> = {}): Promise<unknown> {
  const { csr } = newCsr()
  return control
    .client()
    .call('join', { token, csr, hostname: 'h', role: 'agent', services: ['db'], ...change })
}

describe('joining', () => {
  it('takes a token that is for the services asked for, many times until it ends', async () => {
    const token = await newToken(control, ['db'])
    assert.equal(await codeOf(joinWith(token)), 'done')
    assert.equal(await codeOf(joinWith(token)), 'done')
    assert.equal(
      await codeOf(joinWith(token, { role: 'proxy', services: ['proxy'], address: 'p:443' })),
      'policy.denied',
    )
    assert.equal(await codeOf(joinWith(token, { services: ['node'] })), 'policy.denied')
    assert.equal(await codeOf(joinWith(token, { services: [] })), 'policy.denied')
    assert.equal(await codeOf(joinWith('0'.repeat(32))), 'policy.denied')
    assert.equal(await codeOf(joinWith('../resources/user')), 'policy.denied')
  })

  it('takes a static token of the configuration file', async () => {
    assert.equal(await codeOf(joinWith('static-secret-of-the-file')), 'done')
  })

  it('takes a one-use token from one of two that come at the same moment', async () => {
    const { token } = await control.handle.localToken('agent', ['db'])
    const outcomes = await Promise.all([codeOf(joinWith(token)), codeOf(joinWith(token))])
    assert.deepEqual(outcomes.toSorted(), ['done', 'policy.denied'])
    assert.equal(await codeOf(joinWith(token)), 'policy.denied')
  })

  it('keeps a one-use token when the request for a certificate is bad', async () => {
    const { token } = await control.handle.localToken('agent', ['db'])
    assert.match(
      await codeOf(joinWith(token, { csr: newCsr().csr.slice(0, 60) })),
      /^(cert|resource)\./,
    )
    assert.equal(await codeOf(joinWith(token)), 'done')
  })

  it('audits joins and refusals without the secret', async () => {
    const token = await newToken(control, ['db'])
    await joinWith(token)
    await codeOf(joinWith('f'.repeat(32)))
    const { items } = await control.admin.call('audit-list', {
      types: 'instance.join,join_token.create',
    })
    assert.ok(
      items.some((item) => item['code'] === 'TJ002E') &&
        items.some((item) => item['code'] === 'TJ002I'),
    )
    assert.ok(!JSON.stringify(items).includes(token))
  })
})

describe('renewal', () => {
  it('raises the generation, and gives the same again when the answer was lost', async () => {
    const agent = await newMember(control, 'agent')
    await announce(agent, [])
    const first = await agent.client.call('renew', { csr: newCsr().csr })
    // The first answer never arrived: the old certificate asks again.
    const { key, csr } = newCsr()
    const second = await agent.client.call('renew', { csr })
    assert.notEqual(first.certificate, second.certificate)
    const renewed = control.client({ certificate: second.certificate, key })
    assert.equal(await codeOf(renewed.call('inventory', { targets: [] })), 'done')
  })

  it('locks a member whose old generation comes back after the new one was used', async () => {
    const agent = await newMember(control, 'agent')
    const { key, csr } = newCsr()
    const { certificate } = await agent.client.call('renew', { csr })
    const renewed = control.client({ certificate, key })
    await renewed.call('inventory', { targets: [] })
    assert.equal(await codeOf(agent.client.call('renew', { csr: newCsr().csr })), 'login.locked')
    assert.equal(await codeOf(renewed.call('inventory', { targets: [] })), 'login.locked')
    const { items } = await control.admin.call('audit-list', { types: 'cert.generation_mismatch' })
    assert.equal(items[0]?.['server_id'], agent.id)
  })
})

describe('target names', () => {
  it('belong to the token whose agent came first; others are refused, audited once and shown', async () => {
    const token = await newToken(control, ['db'])
    const [one, two] = [
      await newMember(control, 'agent', { token }),
      await newMember(control, 'agent', { token }),
    ]
    const stranger = await newMember(control, 'agent')
    assert.deepEqual((await announce(one, ['orders'])).accepted, [
      { name: 'orders', label: 'orders' },
    ])
    assert.equal((await announce(two, ['orders'])).accepted.length, 1)
    for (let i = 0; i < 3; i++) {
      const { accepted, refused } = await announce(stranger, ['orders'])
      assert.deepEqual([accepted, refused.length], [[], 1])
    }
    const { items } = await control.admin.call('audit-list', { types: 'target.claim_refused' })
    assert.equal(items.filter((item) => item['server_id'] === stranger.id).length, 1)
    const shown = (await control.admin.call('targets', {})).items.find(
      (each) => each.name === 'orders',
    )
    assert.deepEqual(shown?.agents, [one.id, two.id].sort())
    assert.deepEqual(
      shown?.refused.map((each) => each.agent),
      [stranger.id],
    )
  })

  it('are certified for their owner alone, under labels that control builds', async () => {
    const agent = await newMember(control, 'agent')
    const { accepted, certificate = '' } = await announce(
      agent,
      ['mine', 'Not.A.Label', 'orders'],
      newCsr().csr,
    )
    const hashed = accepted.find((each) => each.name === 'Not.A.Label')?.label ?? ''
    assert.match(hashed, /^x-[a-z2-7]{26}$/)
    const [leaf = new Uint8Array()] = readPem('CERTIFICATE', certificate)
    assert.deepEqual(
      [...readTargetNames(leaf)].sort(),
      [`*.${hashed}.db.sluice.test`, '*.mine.db.sluice.test'].sort(),
    )
  })

  it('refuse names that could be taken for others', async () => {
    const agent = await newMember(control, 'agent')
    const { refused } = await announce(
      agent,
      ['a b', '', '../x', 'x.', 'ünï'].filter((name) => name !== ''),
    )
    assert.equal(refused.length, 4)
  })

  it('are bound by the targets of the token', async () => {
    const agent = await newMember(control, 'agent', { targets: ['only-this'] })
    const { accepted, refused } = await announce(agent, ['only-this', 'and-that'])
    assert.deepEqual(
      [accepted.map((each) => each.name), refused.map((each) => each.name)],
      [['only-this'], ['and-that']],
    )
  })

  it('of an administrator’s resource go to tokens that list them, with the resource’s labels', async () => {
    const squatter = await newMember(control, 'agent')
    assert.equal((await announce(squatter, ['ledger'])).accepted.length, 1)
    await control.admin.call('resource-create', {
      kind: 'db',
      document: {
        kind: 'db',
        version: 'v3',
        metadata: { name: 'ledger', labels: { env: 'prod' } },
        spec: { protocol: 'postgres', uri: 'ledger.internal:5432' },
      },
    })
    assert.equal((await announce(squatter, ['ledger'])).refused.length, 1)
    const named = await newMember(control, 'agent', { targets: ['ledger'] })
    assert.equal((await announce(named, ['ledger'])).accepted.length, 1)
    const shown = (await control.admin.call('targets', {})).items.find(
      (each) => each.name === 'ledger',
    )
    assert.deepEqual(
      [shown?.owner, shown?.labels, shown?.agents],
      ['resource', { env: 'prod' }, [named.id]],
    )
  })

  it('are given up by not being listed any more', async () => {
    const agent = await newMember(control, 'agent')
    await announce(agent, ['passing'])
    await announce(agent, [])
    const shown = (await control.admin.call('targets', {})).items.find(
      (each) => each.name === 'passing',
    )
    assert.deepEqual(shown?.agents, [])
  })
})
