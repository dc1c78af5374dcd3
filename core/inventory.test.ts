// The inventory base read in place, and changes laid over it.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import fc from 'fast-check'

import { ProxyError } from './errors.ts'
import { buildInventory, Inventory } from './inventory.ts'
import type { Target } from './snapshot.ts'

function target(
  name: string,
  label: string = name,
  agents: readonly string[] = ['agent-1'],
): Target {
  return {
    ref: { kind: 'db', name },
    protocol: 'postgres',
    labels: { env: 'prod', Ü: 'ö' },
    agents,
    label,
  }
}

function shared(targets: readonly Target[]): Uint8Array {
  const base = buildInventory(targets)
  const memory = new Uint8Array(new SharedArrayBuffer(base.length))
  memory.set(base)
  return memory
}

describe('Inventory', () => {
  it('finds every target by label and by name, in shared memory', () => {
    const all = Array.from({ length: 500 }, (_, i) =>
      target(`Über ${i}${i % 7 === 0 ? '😀' : '\ufb01'}`, `x-${i}`),
    )
    const inventory = new Inventory(shared(all), 1)
    for (const each of all) {
      assert.deepEqual(inventory.byLabel('db', each.label), each)
      assert.deepEqual(inventory.byName('db', each.ref.name), each)
    }
    assert.equal(inventory.byLabel('db', 'x-500'), undefined)
    assert.equal(inventory.byLabel('node', 'x-1'), undefined)
    assert.equal([...inventory.targets()].length, 500)
  })

  it('is read in pages, changes last and nothing twice', () => {
    const inventory = new Inventory(
      shared(['a', 'b', 'c', 'd', 'e'].map((name) => target(name))),
      1,
    )
    const remove = [{ kind: 'db', name: 'b' }] as const
    assert.ok(inventory.apply({ from: 1, revision: 2, put: [target('c'), target('f')], remove }))
    const names: string[] = []
    const lengths: number[] = []
    let from: number | undefined = 0
    while (from !== undefined) {
      const page: ReturnType<Inventory['page']> = inventory.page(from, 2)
      names.push(...page.targets.map(({ ref }) => ref.name))
      lengths.push(page.targets.length)
      from = page.next
    }
    assert.deepEqual(names, ['a', 'd', 'e', 'c', 'f'])
    assert.ok(lengths.every((length) => length <= 2))
    assert.deepEqual(inventory.page(100, 2), { targets: [] })
  })

  it('lays changes over the base: new, changed label, removed', () => {
    const inventory = new Inventory(shared([target('a'), target('b')]), 7)
    const moved = target('a', 'x-moved')
    assert.ok(
      inventory.apply({
        from: 7,
        revision: 8,
        put: [moved, target('c')],
        remove: [{ kind: 'db', name: 'b' }],
      }),
    )
    assert.deepEqual(inventory.byLabel('db', 'x-moved'), moved)
    assert.equal(inventory.byLabel('db', 'a'), undefined)
    assert.equal(inventory.byName('db', 'b'), undefined)
    assert.deepEqual([...inventory.targets()].map((each) => each.ref.name).sort(), ['a', 'c'])
    assert.equal(inventory.revision, 8)
  })

  it('does not take a change that does not follow', () => {
    const inventory = new Inventory(shared([]), 7)
    assert.equal(inventory.apply({ from: 8, revision: 9, put: [], remove: [] }), false)
  })

  it('answers damaged bytes with one error and nothing else', () => {
    const base = buildInventory([target('a'), target('b')])
    fc.assert(
      fc.property(fc.nat(base.length - 1), fc.integer({ min: 0, max: 255 }), (at, byte) => {
        const damaged = Uint8Array.from(base)
        damaged[at] = byte
        try {
          const inventory = new Inventory(damaged, 1)
          inventory.byName('db', 'a')
          inventory.byLabel('db', 'b')
        } catch (error) {
          assert.ok(error instanceof ProxyError, String(error))
        }
      }),
    )
  })
})
