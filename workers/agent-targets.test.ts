// What an agent serves: its own file's databases and those control gives it, when it asks anew, and what it does with the answer.

import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'

import { type AgentTarget, type DialGuard, isDialled } from '../core/agent-target.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import { AgentTargets, type AgentWord, type Announcement, type Served } from './agent-targets.ts'
import { FakeTimers } from './timers.ts'

const GUARD: DialGuard = { section: 'db_service', allowed: [], ownPorts: [3025], ownAddresses: [] }
const KEYS = { certificate: 'c', key: 'k' }

function target(name: string): Omit<AgentTarget, 'label'> {
  const tls = { mode: 'verify-full', serverName: name, trustSystemRoots: false } as const
  return { ref: { kind: 'db', name }, protocol: 'postgres', labels: {}, host: name, port: 1, tls }
}

/** Control as it answers: it accepts everything, and gives `dynamic`. */
class FakeControl {
  readonly words: AgentWord[] = []
  dynamic: readonly Omit<AgentTarget, 'label'>[] = []
  revision = 1
  refuses: readonly string[] = []
  failure: Error | undefined
  gate: Promise<void> | undefined

  async announce(word: AgentWord): Promise<Announcement> {
    this.words.push(word)
    await this.gate
    if (this.failure !== undefined) throw this.failure
    const names = [...word.targets, ...this.dynamic]
      .map(({ ref }) => ref.name)
      .filter((name) => !this.refuses.includes(name))
    return {
      accepted: names.map((name) => ({ kind: 'db', name, label: name })),
      refused: this.refuses.map((name) => ({ name, reason: 'no' })),
      dynamic: this.dynamic,
      revision: this.revision,
      keys: KEYS,
    }
  }
}

function start(context: TestContext): {
  targets: AgentTargets
  control: FakeControl
  timers: FakeTimers
  served: Served[]
  told: string[]
} {
  const [control, timers] = [new FakeControl(), new FakeTimers()]
  const served: Served[] = []
  const told: string[] = []
  const targets = new AgentTargets({
    own: { targets: [target('own')], selectors: [{ env: ['prod'] }], guard: GUARD },
    clock: timers.clock,
    timers,
    random: () => 0.5,
    log: silentLogger,
    held: () => ({ trustedAtMs: 7, lockRevision: 3 }),
    announce: (word) => control.announce(word),
    serve: (each) => served.push(each),
    locks: ({ type }) => told.push(type),
    answered: () => told.push('answered'),
    outdated: () => told.push('outdated'),
    healthChanged: () => told.push('health'),
  })
  context.after(() => targets.stop())
  return { targets, control, timers, served, told }
}

async function settled(): Promise<void> {
  for (let i = 0; i < 16; i++) await Promise.resolve()
}

describe('What an agent serves', () => {
  it('is its own file’s databases as they stand, and resources under the guard of its file', async (t) => {
    const { targets, control, served } = start(t)
    control.dynamic = [target('given')]
    await targets.announce()
    assert.deepEqual(control.words[0]?.selectors, [{ env: ['prod'] }])
    assert.equal(control.words[0]?.held.trustedAtMs, 7)
    assert.deepEqual(
      served[0]?.targets.filter(isDialled).map(({ ref, label, guard }) => [ref.name, label, guard]),
      [
        ['own', 'own', undefined],
        ['given', 'given', GUARD],
      ],
    )
  })

  it('is not what control refuses, and stays as it was while control is away', async (t) => {
    const { targets, control, served } = start(t)
    control.refuses = ['own']
    await targets.announce()
    assert.deepEqual(served[0]?.targets, [])
    control.failure = new ProxyError('control.unavailable', 'away')
    await targets.announce()
    assert.equal(served.length, 1)
  })

  it('is asked for anew when a snapshot says that something changed, a little later and once', async (t) => {
    const { targets, control, timers } = start(t)
    targets.heard(9)
    assert.equal(timers.size, 0)
    await targets.announce()
    targets.heard(1)
    assert.equal(timers.size, 0)
    control.revision = 3
    targets.heard(2)
    targets.heard(3)
    timers.advance(max('targetsAskSpreadMs') / 2 - 1)
    assert.equal(control.words.length, 1)
    timers.advance(1)
    await settled()
    assert.equal(control.words.length, 2)
    timers.advance(max('targetsAskSpreadMs'))
    await settled()
    assert.equal(control.words.length, 2)
  })

  it('makes what is cached of control outdated when control’s side changed, not before', async (t) => {
    const { targets, control, told } = start(t)
    await targets.announce()
    await targets.announce()
    assert.deepEqual(told, ['answered', 'answered'])
    control.revision = 2
    await targets.announce()
    assert.deepEqual(told.slice(2), ['outdated', 'answered'])
  })

  it('is announced by one call at a time; one that is asked for meanwhile follows', async (t) => {
    const { targets, control } = start(t)
    const gate = Promise.withResolvers<void>()
    control.gate = gate.promise
    const all = [targets.announce(), targets.announce(), targets.announce()]
    await settled()
    assert.equal(control.words.length, 1)
    gate.resolve()
    await Promise.all(all)
    assert.equal(control.words.length, 2)
  })

  it('is announced no more after the end', async (t) => {
    const { targets, control, timers } = start(t)
    await targets.announce()
    targets.heard(5)
    targets.stop()
    assert.equal(timers.size, 0)
    await targets.announce()
    assert.equal(control.words.length, 1)
  })
})
