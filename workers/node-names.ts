// What a name stands for that a person typed where a node is wanted: the node's own name, that name under the cluster's, the id of its
// agent, or that id under the cluster's. Case means nothing in host names. It knows nothing of who may see what it finds.

import type { Inventory } from '../core/inventory.ts'
import type { Target } from '../core/snapshot.ts'

/** Agents have UUIDs. */
const AGENT_ID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/** Records read in one go: a few milliseconds. */
const STEP = 500

interface Index {
  readonly inventory: Inventory
  readonly revision: number
  readonly byAgent: ReadonlyMap<string, string>
}

export class NodeNames {
  readonly #cluster: string
  readonly #inventory: () => Inventory | undefined
  #index: Promise<Index> | undefined
  #of: { readonly inventory: Inventory; readonly revision: number } | undefined

  constructor(cluster: string, inventory: () => Inventory | undefined) {
    this.#cluster = cluster
    this.#inventory = inventory
  }

  async find(typed: string): Promise<Target | undefined> {
    const inventory = this.#inventory()
    if (inventory === undefined) return undefined
    const whole = typed.toLowerCase().replace(/\.$/, '')
    // A server that is enrolled by a longer name is called by it.
    const named = inventory.byName('node', whole)
    if (named !== undefined) return named
    const suffix = `.${this.#cluster.toLowerCase()}`
    const name = whole.endsWith(suffix) ? whole.slice(0, -suffix.length) : whole
    const found = inventory.byName('node', name)
    if (found !== undefined || !AGENT_ID.test(name)) return found
    const { byAgent } = await this.#indexOf(inventory)
    const node = byAgent.get(name)
    return node === undefined ? undefined : inventory.byName('node', node)
  }

  /** One reading of the whole inventory per revision of it, however many ask. */
  #indexOf(inventory: Inventory): Promise<Index> {
    const { revision } = inventory
    if (this.#index !== undefined && this.#of?.inventory === inventory)
      if (this.#of.revision === revision) return this.#index
    this.#of = { inventory, revision }
    this.#index = index(inventory, revision)
    return this.#index
  }
}

async function index(inventory: Inventory, revision: number): Promise<Index> {
  const byAgent = new Map<string, string>()
  let read = 0
  for (const { ref, agents } of inventory.targets()) {
    if (ref.kind === 'node') for (const id of agents) byAgent.set(id, ref.name)
    if (++read % STEP === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  return { inventory, revision, byAgent }
}
