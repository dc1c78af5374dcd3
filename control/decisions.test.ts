// Decisions as they are found in the audit log, by whom they concern and by auditors.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import type { AuditLog } from './audit.ts'
import { findDecision } from './decisions.ts'

type Items = Awaited<ReturnType<AuditLog['query']>>['items']

function logOf(...events: readonly Readonly<Record<string, unknown>>[]): Pick<AuditLog, 'query'> {
  return { query: () => Promise.resolve({ items: events as unknown as Items }) }
}

const SSH = {
  event: 'ssh.connection',
  time: '2026-11-26T00:00:00.000Z',
  user: 'alice',
  target_name: 'web-1',
  success: false,
  error: 'no role of yours grants a node of this name',
  message: 'Ask an administrator.',
}

describe('a decision', () => {
  it('about a node is called one, and its reason is the refusal, not the advice', async () => {
    const { target, reason, allowed } = await findDecision(logOf(SSH), 'ID', 'auditor')
    assert.deepEqual(
      [target, reason, allowed],
      ['node/web-1', 'no role of yours grants a node of this name', false],
    )
  })

  it('about a database is called one, by what its service or the relay says', async () => {
    const session = { event: 'db.session.start', user: 'alice', db_service: 'orders', message: 'm' }
    const found = await findDecision(logOf(session), 'ID', 'auditor')
    assert.deepEqual([found.target, found.reason], ['db/orders', 'm'])
    const relay = { event: 'session.relay', target_kind: 'db', target_name: 'orders' }
    assert.equal((await findDecision(logOf(relay), 'ID', 'auditor')).target, 'db/orders')
  })

  it('of somebody else is not there', async () => {
    await assert.rejects(findDecision(logOf(SSH), 'ID', { name: 'bob' }), {
      code: 'resource.not-found',
    })
    assert.equal((await findDecision(logOf(SSH), 'ID', { name: 'alice' })).user, 'alice')
  })
})
