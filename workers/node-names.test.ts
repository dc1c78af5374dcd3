// Which node a typed name stands for, and what one person may ask for.

import assert from 'node:assert/strict'
import { it } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { buildInventory, Inventory } from '../core/inventory.ts'
import { max } from '../core/limits.ts'
import type { Target } from '../core/snapshot.ts'
import { Ledger } from './ledger.ts'
import { NodeGate } from './node-gate.ts'
import { NodeNames } from './node-names.ts'
import type { Dial } from './tickets.ts'

const AGENT = '0b7a4c9e-5a3e-4a41-9d3b-0d2f2f1d7c11'

function node(name: string, agents: readonly string[], over: Partial<Target> = {}): Target {
  const ref = { kind: 'node', name } as const
  return { ref, protocol: 'ssh', labels: {}, agents, label: name, ...over }
}

const TARGETS = [
  node('web-1', [AGENT]),
  node('db.corp.test', [], { address: '192.0.2.1:22', label: 'x-1' }),
  { ...node('orders', [AGENT]), ref: { kind: 'db', name: 'orders' } } as const,
  ...Array.from({ length: 2000 }, (_, at) => node(`n${at}`, [`agent-${at}`])),
]

async function found(names: NodeNames, typed: string): Promise<string | undefined> {
  return (await names.find(typed))?.ref.name
}

it('a node is found by its name, its agent’s id, each alone and under the cluster, in any case', async () => {
  const inventory = new Inventory(buildInventory(TARGETS), 1)
  const names = new NodeNames('Cluster.Test', () => inventory)
  for (const typed of ['web-1', 'WEB-1', 'web-1.cluster.test', 'Web-1.Cluster.Test.', AGENT])
    assert.equal(await found(names, typed), 'web-1', typed)
  assert.equal(await found(names, `${AGENT.toUpperCase()}.cluster.test`), 'web-1')
  assert.equal(await found(names, 'db.corp.test'), 'db.corp.test')
})

it('nothing else is: parts of names, other clusters, databases, ids that are none', async () => {
  const inventory = new Inventory(buildInventory(TARGETS), 1)
  const names = new NodeNames('cluster.test', () => inventory)
  for (const typed of ['web', 'web-1.other.test', 'orders', 'agent-7', '', '.cluster.test', 'x-1'])
    assert.equal(await found(names, typed), undefined, typed)
  assert.equal(await found(new NodeNames('cluster.test', () => undefined), 'web-1'), undefined)
})

it('an agent’s node is found by its id as the inventory has it now', async () => {
  const inventory = new Inventory(buildInventory(TARGETS), 1)
  const names = new NodeNames('cluster.test', () => inventory)
  assert.equal(await found(names, AGENT), 'web-1')
  const [web] = TARGETS
  assert.ok(web)
  const put = [node('web-2', [AGENT])]
  assert.ok(inventory.apply({ from: 1, revision: 2, put, remove: [web.ref] }))
  assert.equal(await found(names, AGENT), 'web-2')
})

it('one person’s dials wait for each other, are refused beyond the bound, and leave nothing', async () => {
  const clock = new FakeClock()
  const gate = new NodeGate(clock, new Ledger())
  const dials: Dial[] = []
  const entered: number[] = []
  const enter = async (user: string): Promise<void> => {
    const at = dials.length
    await gate.enter(user, (dial) => dials.push(dial))
    entered.push(at)
  }
  const atOnce = max('ticketDialsUnacceptedMax')
  const tries = Array.from({ length: atOnce + 2 }, () => enter('local/alice'))
  await enter('local/bob')
  assert.equal(entered.length, atOnce + 1)
  dials[0]?.leave()
  await tries[atOnce]
  dials[atOnce + 1]?.leave()
  await assert.rejects(tries[atOnce + 1] ?? Promise.resolve(), /too many nodes/)
  const rest = max('ticketDialsPerMinuteMax') - tries.length
  const more: Promise<void>[] = []
  for (let count = 0; count < rest + 1; count++)
    more.push(gate.enter('local/alice', (dial) => dial.leave()).catch(() => {}))
  await assert.rejects(
    gate.enter('local/alice', () => {}),
    /too many nodes/,
  )
  await Promise.all(more)
  gate.close()
})
