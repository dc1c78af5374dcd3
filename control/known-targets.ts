// Targets as control's memory has them: those that agents claimed, out of the store, and servers without an agent, made of their
// resources. The latter come first: an administrator's word goes before an agent's. Remembers what changed until it is published.

import { agentlessNodes } from './agentless-nodes.ts'
import type { TargetRecord } from './records.ts'
import type { NodeResource } from './resources/node.ts'

export class KnownTargets {
  readonly #stored = new Map<string, TargetRecord>()
  #agentless: ReadonlyMap<string, TargetRecord> = new Map()
  readonly #changed = new Set<string>()

  /** By store key. */
  at(key: string): TargetRecord | undefined {
    return this.#agentless.get(key) ?? this.#stored.get(key)
  }

  *all(): Generator<TargetRecord, undefined> {
    yield* this.#agentless.values()
    for (const [key, record] of this.#stored) if (!this.#agentless.has(key)) yield record
  }

  /** `record` undefined: it is gone. */
  put(key: string, record: TargetRecord | undefined): void {
    this.#changed.add(key)
    if (record === undefined) this.#stored.delete(key)
    else this.#stored.set(key, record)
  }

  setAgentless(resources: Iterable<NodeResource>): void {
    const before = this.#agentless
    this.#agentless = agentlessNodes(resources)
    for (const key of [...before.keys(), ...this.#agentless.keys()]) this.#changed.add(key)
  }

  /** Before everything is read again: what is not there any more then has changed too. */
  clear(): void {
    for (const key of [...this.#stored.keys(), ...this.#agentless.keys()]) this.#changed.add(key)
    this.#stored.clear()
    this.#agentless = new Map()
  }

  /** Keys that changed since the last call. */
  takeChanged(): readonly string[] {
    const keys = [...this.#changed]
    this.#changed.clear()
    return keys
  }
}
