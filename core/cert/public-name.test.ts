// The public names that a proxy's certificate may carry, and those it must never.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { hostOfAddress, publicName } from './public-name.ts'

const CLUSTER = 'example.com'
const named = (host: string): string | undefined => {
  const found = publicName(host, CLUSTER)
  return found.problem === undefined ? `${found.kind} ${found.name}` : undefined
}

describe('the public name of a proxy', () => {
  it('is a DNS name or an address, in one spelling', () => {
    assert.equal(named('Access.Example.ORG'), 'dns access.example.org')
    assert.equal(named('localhost'), 'dns localhost')
    assert.equal(named('127.0.0.1'), 'ip 127.0.0.1')
    assert.equal(named('::1'), 'ip 0:0:0:0:0:0:0:1')
    assert.equal(named('2001:DB8::1'), 'ip 2001:db8:0:0:0:0:0:1')
  })

  it('may be the cluster’s own name, or a free one below it', () => {
    assert.equal(named('example.com'), 'dns example.com')
    assert.equal(named('access.example.com'), 'dns access.example.com')
    assert.equal(named('proxy.example.com'), 'dns proxy.example.com')
    assert.equal(named('access.eu.example.com'), 'dns access.eu.example.com')
  })

  it('is never one by which the cluster’s parts and targets are known', () => {
    const taken = ['control', 'agent', 'db', 'x.db', 'terminate.orders.db', 'a.b.node', 'id.proxy']
    for (const inner of [...taken, 'id.agent', 'id.control', 'X.APP', 'a.kube', 'a.desktop'])
      assert.equal(named(`${inner}.example.com`), undefined, inner)
    assert.equal(named('orders.db.example.org'), 'dns orders.db.example.org')
  })

  it('is nothing that readers could take for something else', () => {
    const odd = ['', '*', '*.example.org', 'a..b', 'a.', '-a', 'a_b', 'a b', 'ä.example', 'a\0b']
    for (const host of [...odd, '1.2.3', '0177.0.0.1', '1.2.3.4.5', '0.0.0.0', '::', '[::1]'])
      assert.equal(named(host), undefined, host)
    assert.equal(named(`${'a.'.repeat(130)}a`), undefined)
  })

  it('is read from a public address', () => {
    assert.equal(hostOfAddress('access.example.org:443'), 'access.example.org')
    assert.equal(hostOfAddress('[2001:db8::1]:3080'), '2001:db8::1')
    assert.equal(hostOfAddress('127.0.0.1:1'), '127.0.0.1')
  })
})
