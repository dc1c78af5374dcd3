// How agents and proxies become members, renew, and betray a copy; who owns which target name.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { readPem } from '../core/cert/pem.ts'
import { readCertificate, readTargetNames } from '../core/cert/x509.ts'
import { DEFAULT_HEALTH_CHECK } from '../core/health.ts'
import { errorCode } from '../core/errors.ts'
import {
  newCsr,
  newMember,
  newToken,
  startTestControl,
  type TestControl,
  type TestMember,
} from '../test/fixtures/control.ts'
import type { InventoryReply, JsonObject } from './api/messages.ts'

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

describe('the public name of a proxy', () => {
  /** The names of its newest certificate beside its own. */
  const facing = (certificate: string): readonly string[] => {
    const [leaf = new Uint8Array()] = readPem('CERTIFICATE', certificate)
    const { dnsNames, ipAddresses } = readCertificate(leaf).extensions
    return [...dnsNames.slice(1), ...ipAddresses]
  }
  const refusedNames = async (id: string): Promise<readonly JsonObject[]> => {
    const { items } = await control.admin.call('audit-list', { types: 'SLT002W' })
    return items.filter((item) => item['server_id'] === id)
  }

  it('is the host of its public address, from the join on', async () => {
    const one = await newMember(control, 'proxy', { address: 'One.example:443' })
    assert.deepEqual(facing(one.certificate), ['one.example'])
    const two = await newMember(control, 'proxy', { address: '[2001:db8::2]:443' })
    assert.deepEqual(facing(two.certificate), ['2001:db8:0:0:0:0:0:2'])
    const agent = await newMember(control, 'agent')
    assert.deepEqual(facing(agent.certificate), [])
  })

  it('changes with the address when the proxy renews', async () => {
    const token = await newToken(control, ['proxy'])
    const proxy = await newMember(control, 'proxy', { token, address: 'old.example:443' })
    const { csr, key } = newCsr()
    const moved = await proxy.client.call('renew', { csr, address: 'new.example:8443' })
    assert.deepEqual(facing(moved.certificate), ['new.example'])
    const again = control.client({ certificate: moved.certificate, key })
    const kept = await again.call('renew', { csr: newCsr().csr })
    assert.deepEqual(facing(kept.certificate), ['new.example'])
    const stranger = await newMember(control, 'proxy', { address: 'old.example:443' })
    assert.deepEqual(facing(stranger.certificate), ['old.example'], 'the old name is free')
  })

  it('belongs to the token whose proxy came first: another one joins without it, and is shown', async () => {
    const token = await newToken(control, ['proxy'])
    const at = { address: 'shared.example:443' }
    await newMember(control, 'proxy', { token, ...at })
    const twin = await newMember(control, 'proxy', { token, address: 'SHARED.example:444' })
    assert.deepEqual(facing(twin.certificate), ['shared.example'])
    const thief = await newMember(control, 'proxy', at)
    assert.deepEqual(facing(thief.certificate), [])
    const [event] = await refusedNames(thief.id)
    assert.equal(event?.['reason'], '"shared.example" belongs to another token’s proxies')
    const mine = await newMember(control, 'proxy', { address: 'thief.example:443' })
    const renewed = await mine.client.call('renew', { csr: newCsr().csr, ...at })
    assert.deepEqual(facing(renewed.certificate), [])
    assert.equal((await refusedNames(mine.id)).length, 1)
  })

  it('goes to one of two tokens’ proxies that come at the same moment', async () => {
    const at = { address: 'race.example:443' }
    const both = await Promise.all([
      newMember(control, 'proxy', at),
      newMember(control, 'proxy', at),
    ])
    const names = both.flatMap(({ certificate }) => facing(certificate))
    assert.deepEqual(names, ['race.example'])
  })

  it('is bound, and given whoever came before, by the targets of the token', async () => {
    await newMember(control, 'proxy', { address: 'listed.example:443' })
    const targets = ['listed.example']
    const listed = await newMember(control, 'proxy', { targets, address: 'listed.example:443' })
    assert.deepEqual(facing(listed.certificate), ['listed.example'])
    const other = await newMember(control, 'proxy', { targets, address: 'unlisted.example:443' })
    assert.deepEqual(facing(other.certificate), [])
  })

  it('is none by which the cluster knows its parts and targets, and no agent has one', async () => {
    for (const inner of ['control', 'x.orders.db', 'terminate.orders.db']) {
      const proxy = await newMember(control, 'proxy', { address: `${inner}.sluice.test:443` })
      assert.deepEqual(facing(proxy.certificate), [], inner)
      assert.equal((await refusedNames(proxy.id)).length, 1)
    }
    const agent = await newMember(control, 'agent')
    const asked = agent.client.call('renew', { csr: newCsr().csr, address: 'a.example:443' })
    assert.equal(await codeOf(asked), 'resource.invalid')
    const token = await newToken(control, ['db'])
    assert.equal(await codeOf(joinWith(token, { address: 'a.example:443' })), 'done')
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
      { name: 'orders', label: 'orders', check: DEFAULT_HEALTH_CHECK },
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
