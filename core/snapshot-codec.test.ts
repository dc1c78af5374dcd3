// Roles in snapshots: what control wrote is read as it was, fields that older versions did not write are absent, and a field that this
// version does not know makes the role refuse. The bytes as a whole are fuzzed (test/fuzz/codecs/tunnel.ts).

import assert from 'node:assert/strict'
import { it } from 'node:test'

import { testSnapshot } from '../test/fixtures/rights.ts'
import type { Role } from './policy/role.ts'
import { decodeSnapshot, encodeSnapshot } from './snapshot-codec.ts'

const EXPRESSION = 'contains(user.spec.traits["team"], labels["team"])'
const ROLE: Role = {
  name: 'r',
  version: 'v7',
  options: {},
  allow: {
    rules: [],
    node: { labels: {}, labelsExpression: EXPRESSION, logins: ['root'] },
    db: { labels: { env: ['prod'] }, labelsExpression: EXPRESSION, users: ['app'], names: ['*'] },
  },
  deny: { rules: [], node: { labels: {}, labelsExpression: 'labels.a == "☂"', logins: [] } },
  unenforced: [],
}

function carried(role: unknown): Role | undefined {
  const snapshot = testSnapshot({ nowMs: 0, config: { cluster: 'c' } })
  // A role of another version of Sluice has another type.
  const bytes = encodeSnapshot({ ...snapshot, roles: [role as Role] })
  return decodeSnapshot(bytes).roles[0]
}

it('label expressions are carried on both sides', () => {
  assert.deepEqual(carried(ROLE), ROLE)
})

it('a role that was written without them is read without them', () => {
  const older: Role = {
    ...ROLE,
    allow: {
      rules: [],
      node: { labels: { env: ['prod'] }, logins: ['root'] },
      db: { labels: { env: ['prod'] }, users: ['app'], names: ['*'] },
    },
    deny: { rules: [] },
  }
  assert.deepEqual(carried(older), older)
})

it('a part of a rule that this version does not know makes the role refuse', () => {
  const node = { ...ROLE.allow.node, nodeMoods: 'good' }
  const read = carried({ ...ROLE, allow: { rules: [], node } })
  assert.deepEqual(
    read?.unenforced.map(({ field, effect }) => [field, effect]),
    [['nodeMoods', 'refuses']],
  )
})
