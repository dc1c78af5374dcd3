// The route table: nothing is open by oversight. Each anonymous call is listed here by name; adding one means editing this list.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { AUDIT_EVENTS } from '../../core/audit/catalogue.ts'
import { connectControl } from './client.ts'
import type { Handlers } from './handler.ts'
import { openApiDocument } from './openapi.ts'
import { checkHandlers, matchRoute } from './router.ts'
import { CALL_NAMES, ROUTES } from './schema.ts'

const ANONYMOUS = ['ping', 'cas', 'login', 'invite-read', 'invite-complete', 'join']

describe('the route table', () => {
  it('lists every anonymous call here by name', () => {
    const open = CALL_NAMES.filter(
      (name) => ROUTES[name].who === 'anyone' || ROUTES[name].permission === 'none',
    )
    assert.deepEqual(open, ANONYMOUS)
  })

  it('gives every other call a permission, and administrative ones a kind and verb unless they serve the caller’s own', () => {
    for (const name of CALL_NAMES) {
      const { who, permission } = ROUTES[name]
      if (who === 'anyone') continue
      assert.notEqual(permission, 'none', name)
      if (who === 'admin' && permission === 'own')
        assert.ok(['openapi', 'decision'].includes(name), name)
    }
  })

  it('names an audit event that exists, or the reason for none', () => {
    const events = new Set(Object.values(AUDIT_EVENTS).map((row) => row.name))
    for (const name of CALL_NAMES) {
      const { audit } = ROUTES[name]
      if (typeof audit === 'string')
        assert.ok(audit === 'by-kind' || events.has(audit), `${name}: ${audit}`)
      else assert.ok(audit.none.length > 10, name)
    }
  })

  it('asks for a second factor wherever a person calls', () => {
    for (const name of CALL_NAMES)
      if (['user', 'admin'].includes(ROUTES[name].who))
        assert.equal(ROUTES[name].mfa, 'login', name)
  })

  it('has one row per method and path', () => {
    const paths = CALL_NAMES.map(
      (name) => `${ROUTES[name].method} ${ROUTES[name].path.replaceAll(/:\w+/g, ':')}`,
    )
    assert.equal(new Set(paths).size, paths.length)
  })

  it('finds each row by its path, also beside rows with parameters', () => {
    for (const name of CALL_NAMES) {
      const { method, path } = ROUTES[name]
      assert.equal(matchRoute(method, path.replaceAll(/:\w+/g, 'x%2Fy')).name, name)
    }
  })

  it('does not let a server start with a handler too many or too few', () => {
    const all = Object.fromEntries(CALL_NAMES.map((name) => [name, async () => ({})]))
    const { ping: _, ...fewer } = all
    checkHandlers(all as unknown as Handlers)
    assert.throws(() => checkHandlers(fewer as unknown as Handlers), /without a handler: ping/)
    assert.throws(
      () => checkHandlers({ ...all, door: async () => ({}) } as unknown as Handlers),
      /without a row: door/,
    )
  })

  it('is the whole OpenAPI document', () => {
    const document = openApiDocument('1.2.3')
    const paths = document['paths'] as Record<string, Record<string, { operationId: string }>>
    const names = Object.values(paths).flatMap((methods) =>
      Object.values(methods).map((each) => each.operationId),
    )
    assert.deepEqual(names.toSorted(), [...CALL_NAMES].sort())
    const put = paths['/v1/resources/{kind}/{name}']?.['put'] as unknown as {
      parameters: readonly { name: string; in: string }[]
    }
    assert.deepEqual(
      put.parameters.map((each) => [each.name, each.in]),
      [
        ['kind', 'path'],
        ['name', 'path'],
      ],
    )
  })
})

describe('the client', () => {
  it('names the layer that failed when nobody answers', async () => {
    const client = connectControl({
      connect: () => Promise.reject(new Error('no route')),
      trust: { pins: [] },
    })
    await assert.rejects(client.call('ping', {}), { code: 'control.unavailable' })
  })
})
