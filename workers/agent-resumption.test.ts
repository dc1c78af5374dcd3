// TLS sessions with agents that a proxy's main thread keeps: bounded, per agent and name, and never over the end of their epoch.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../core/limits.ts'
import { AgentResumption } from './agent-resumption.ts'

const session = Uint8Array.of(1)

function bring(
  resumption: AgentResumption,
  agentId: string,
  serverName: string,
  epoch = resumption.for('', '').epoch,
): void {
  const fingerprint = `${agentId} ${serverName}`
  resumption.keep({ kind: 'agent-tls-session', agentId, serverName, epoch, session, fingerprint })
}

describe('sessions with agents', () => {
  it('are known by agent and name together', () => {
    const resumption = new AgentResumption()
    bring(resumption, 'a', 'orders')
    assert.equal(resumption.for('a', 'orders').known?.fingerprint, 'a orders')
    assert.equal(resumption.for('a', 'payroll').known, undefined)
    assert.equal(resumption.for('b', 'orders').known, undefined)
  })

  it('end with their epoch, also when a worker brings one late', () => {
    const resumption = new AgentResumption()
    const { epoch } = resumption.for('a', 'orders')
    bring(resumption, 'a', 'orders')
    resumption.forget()
    assert.equal(resumption.for('a', 'orders').known, undefined)
    bring(resumption, 'a', 'orders', epoch)
    assert.equal(resumption.size, 0)
    assert.notEqual(resumption.for('a', 'orders').epoch, epoch)
  })

  it('are bounded: the one renewed longest ago goes first', () => {
    const resumption = new AgentResumption()
    for (let at = 0; at < max('agentTlsSessionsMax'); at++) bring(resumption, `a${at}`, 'orders')
    bring(resumption, 'a1', 'orders')
    assert.ok(resumption.for('a0', 'orders').known)
    bring(resumption, 'a0', 'orders')
    bring(resumption, 'new', 'orders')
    assert.equal(resumption.size, max('agentTlsSessionsMax'))
    assert.equal(resumption.for('a2', 'orders').known, undefined)
    assert.ok(resumption.for('a0', 'orders').known)
  })
})
