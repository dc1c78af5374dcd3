// From sluice.yaml to processes.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { loadConfig } from '../../control/config.ts'
import { DEFAULT_UIDS, planRoles } from './plan.ts'

function plan(yaml: string, root = false): ReturnType<typeof planRoles> {
  return planRoles(loadConfig(yaml, 'sluice.yaml'), root)
}

const ALL = `
sluice: { diag_addr: "127.0.0.1:3000" }
auth_service: { enabled: yes, listen_addr: "127.0.0.1:3025" }
proxy_service: { enabled: yes, web_listen_addr: "127.0.0.1:3080" }
db_service:
  enabled: yes
  databases: [{ name: orders, protocol: postgres, uri: "localhost:5432" }]
`

const AGENT_ONLY = `
sluice: { proxy_server: "proxy.test:443", auth_token: secret, ca_pin: "sha256:00" }
auth_service: { enabled: no }
proxy_service: { enabled: no }
db_service:
  enabled: yes
  databases: [{ name: orders, protocol: postgres, uri: "localhost:5432" }]
`

describe('the plan of roles', () => {
  it('starts each role after those it needs', () => {
    assert.deepEqual(
      plan(ALL).map(({ role }) => role),
      ['signer', 'control', 'proxy', 'agent'],
    )
  })

  it('gives each role its ports; the signer has none, and diagnostics take neighbouring ones', () => {
    assert.deepEqual(
      plan(ALL).map(({ listeners }) => listeners),
      [
        {},
        { api: '127.0.0.1:3025', diag: '127.0.0.1:3000' },
        { public: '127.0.0.1:3080', diag: '127.0.0.1:3001' },
        { diag: '127.0.0.1:3002' },
      ],
    )
  })

  it('starts a launcher before the agent of a node, without a uid: it starts the programs of every login', () => {
    const node = AGENT_ONLY.replace('enabled: yes\n  databases', 'enabled: no\n  databases')
    const plans = plan(`${node}ssh_service: { enabled: yes }\n`, true)
    assert.deepEqual(
      plans.map(({ role, uid }) => [role, uid]),
      [
        ['launcher', undefined],
        ['agent', DEFAULT_UIDS.agent],
      ],
    )
  })

  it('runs an agent alone without a local token', () => {
    assert.deepEqual(plan(AGENT_ONLY), [{ role: 'agent', listeners: {}, joinsLocally: false }])
  })

  it('lets proxy and agent of control’s machine join by a token of the supervisor', () => {
    assert.deepEqual(
      plan(ALL).map(({ joinsLocally }) => joinsLocally),
      [false, false, true, true],
    )
    const named = plan(ALL.replace('diag_addr', 'auth_token: secret, diag_addr'))
    assert.ok(named.every(({ joinsLocally }) => !joinsLocally))
  })

  it('runs each role under a uid of its own when started as root, the configured one first', () => {
    const configured = ALL.replace('sluice: {', 'sluice: { run_as: { proxy: 70001 },')
    const uids = plan(configured, true).map(({ uid, gid }) => [uid, gid])
    const { signer, control, agent } = DEFAULT_UIDS
    assert.deepEqual(uids, [
      [signer, signer],
      [control, control],
      [70_001, 70_001],
      [agent, agent],
    ])
    assert.ok(plan(configured).every((each) => !('uid' in each)))
  })
})
