// Sources as budgets see them, and the networks whose headers are believed.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { Networks, plainAddress, sourceKey } from './source.ts'

describe('sourceKey', () => {
  it('is the address for IPv4, also in IPv6 dress', () => {
    assert.equal(sourceKey('192.0.2.7'), '192.0.2.7')
    assert.equal(sourceKey('::ffff:192.0.2.7'), '192.0.2.7')
    assert.equal(plainAddress('::FFFF:192.0.2.7'), '192.0.2.7')
  })

  it('is the /64 for IPv6, however it is written', () => {
    const same = ['2001:db8::1', '2001:db8:0:0:ffff::', '2001:0DB8::2:3', '2001:db8::1%eth0']
    assert.deepEqual(new Set(same.map(sourceKey)), new Set(['2001:db8:0:0::/64']))
    assert.notEqual(sourceKey('2001:db8:0:1::1'), sourceKey('2001:db8::1'))
  })

  it('is one key for everything that is no address', () => {
    assert.equal(sourceKey('x:y'), sourceKey(':::'))
  })
})

describe('Networks', () => {
  it('knows addresses in its networks, in either dress, and no others', () => {
    const networks = new Networks(['10.0.0.0/8', '192.0.2.7', '2001:db8::/32'])
    for (const inside of ['10.1.2.3', '::ffff:10.1.2.3', '192.0.2.7', '2001:db8:9::1'])
      assert.equal(networks.has(inside), true, inside)
    for (const outside of ['11.0.0.1', '192.0.2.8', '2001:db9::1', '', 'host'])
      assert.equal(networks.has(outside), false, outside)
    assert.equal(new Networks([]).empty, true)
  })

  it('refuses what is no network', () => {
    for (const bad of ['10.0.0.0/33', '10.0.0/8', 'host', '10.0.0.0/8/8', '::/129', '10.0.0.0/'])
      assert.throws(() => new Networks([bad]), { code: 'config.invalid' }, bad)
  })
})
