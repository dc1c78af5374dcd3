// A policy decision of somebody with 50 roles (design section 11): the pure decision, allowed and denied, and the whole
// authorisation with locks, explanation and refusal. CPU of the thread, median of batches.

import { authorize } from '../core/login.ts'
import { compileRoles } from '../core/policy/compile.ts'
import { decide } from '../core/policy/decide.ts'
import type { Role } from '../core/policy/role.ts'
import type { Access } from '../core/protocol.ts'
import { CLUSTER, userIdentity } from '../test/fixtures/certificates.ts'
import { ORDERS, testSnapshot } from '../test/fixtures/rights.ts'
import { type Figure, median, round, type Scenario } from './scenario.ts'

const ROLES = 50
const BATCHES = 30
const BATCH = 1000
const BUDGET_US = 20

export const policy: Scenario = { name: 'policy', run }

/** Literals, globs, regular expressions and templates of traits, as people write them; one in ten matches the target. */
function role(number: number): Role {
  const env = number % 10 === 0 ? ['prod'] : [`stage-${number}`, `^dev-${number}-[a-z]+$`]
  return {
    name: `role-${number}`,
    version: 'v7',
    options: { maxSessionTtlMs: 3_600_000 },
    allow: {
      rules: [],
      db: {
        labels: { env, team: ['*'], region: ['eu-*', 'us-*'] },
        users: ['{{internal.db_users}}', `user-${number}`],
        names: ['main', 'reports-*'],
      },
    },
    deny: {
      rules: [],
      db: { labels: { env: ['frozen'] }, users: [`root-${number}`], names: ['secret-*'] },
    },
    unenforced: [],
  }
}

/** The same by an expression in place of the label map; one in ten is true of the target. */
function withExpression(plain: Role, number: number): Role {
  const { db } = plain.allow
  if (db === undefined) return plain
  const env = number % 10 === 0 ? 'prod' : `stage-${number}`
  const labelsExpression = [
    'contains(user.spec.traits["db_users"], "reader")',
    `(labels["env"] == "${env}" || regexp.match(labels["env"], "^dev-${number}-[a-z]+$"))`,
    'regexp.match(labels["region"], "^(eu|us)-[a-z]+$")',
  ].join(' && ')
  return { ...plain, allow: { ...plain.allow, db: { ...db, labels: {}, labelsExpression } } }
}

function run(): Promise<readonly Figure[]> {
  const nowMs = Date.now()
  const list = Array.from({ length: ROLES }, (_, number) => role(number))
  const identity = userIdentity({
    roles: list.map(({ name }) => name),
    route: { ...ORDERS.ref, protocol: ORDERS.protocol },
  })
  const target = { ...ORDERS, labels: { env: 'prod', team: 'shop', region: 'eu-west' } }
  const allowed: Access = { target: ORDERS.ref, principal: 'reader', resource: 'main' }
  const denied: Access = { ...allowed, principal: 'root-7' }
  const roles = compileRoles(list)
  const ask = (access: Access, by = roles): boolean =>
    decide({ identity, target, access, roles: by }).allow
  const expressed = compileRoles(list.map(withExpression))
  if (!ask(allowed) || ask(denied) || !ask(allowed, expressed) || ask(denied, expressed))
    throw new Error('the bench’s roles do not mean what they should')
  const snapshot = { ...testSnapshot({ nowMs, config: { cluster: CLUSTER } }), roles: list }
  const day = { notBeforeMs: nowMs - 60_000, notAfterMs: nowMs + 86_400_000 }
  const peer = { identity, facts: { serial: 'ab', fingerprint: '00', ...day } }
  const context = {
    nowMs,
    decisionId: '01JALLOW',
    stalenessMaxMs: 300_000,
    keySha256: 'ff00',
    serverIds: ['agent-1'],
  }
  if (authorize(peer, allowed, target, snapshot, context).right === undefined)
    throw new Error('the bench’s person is not let in')
  return Promise.resolve([
    figure(`allow, ${ROLES} roles`, () => ask(allowed), true),
    figure(`deny, ${ROLES} roles`, () => ask(denied), true),
    figure(`allow, ${ROLES} roles with expressions`, () => ask(allowed, expressed), true),
    figure(
      `whole authorisation with its explanation, ${ROLES} roles`,
      () => authorize(peer, allowed, target, snapshot, context),
      false,
    ),
  ])
}

function figure(name: string, once: () => unknown, judged: boolean): Figure {
  const us: number[] = []
  for (let batch = 0; batch < BATCHES; batch++) {
    // The thread's own CPU: on shared cores wall time counts the neighbours.
    const before = process.threadCpuUsage()
    for (let i = 0; i < BATCH; i++) once()
    const { user, system } = process.threadCpuUsage(before)
    us.push((user + system) / BATCH)
  }
  const value = median(us)
  const plain = { name, value: round(value), unit: 'µs CPU per decision' }
  return judged ? { ...plain, budget: `≤ ${BUDGET_US} µs`, kept: value <= BUDGET_US } : plain
}
