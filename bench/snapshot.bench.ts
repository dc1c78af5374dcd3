// A snapshot of 10,000 targets on its way into a proxy (design section 11): how long it keeps the receiver's event loop from turning,
// from the first byte on the socket to the inventory that answers. Then a change of 1,000 targets, the largest there is.

import { once } from 'node:events'
import { zstdCompressSync } from 'node:zlib'
import { hash } from 'node:crypto'

import { generateKey, type Signer } from '../core/cert/key.ts'
import { signedMessage, type SnapshotType } from '../core/cert/signed.ts'
import { buildInventory } from '../core/inventory.ts'
import { max } from '../core/limits.ts'
import { encodeInventory, encodeSnapshot } from '../core/snapshot-codec.ts'
import type { Target } from '../core/snapshot.ts'
import { listen } from '../test/fixtures/net.ts'
import { testSnapshot } from '../test/fixtures/rights.ts'
import { type Figure, round, runPart, type Scenario } from './scenario.ts'

const TARGETS = 10_000
const ROUNDS = 7
const BUDGET_MS = 10

export const snapshot: Scenario = { name: 'snapshot', run }

async function run(): Promise<readonly Figure[]> {
  const { signer } = generateKey('ed25519')
  const base = baseLines(signer)
  const change = changeLine(signer)
  const [whole, changed] = [await receive(base), await receive([...base, change])]
  return [
    {
      name: `snapshot of ${TARGETS} targets: longest turn of the receiver’s event loop`,
      value: round(whole.turnMs),
      unit: 'ms',
      budget: `≤ ${BUDGET_MS} ms`,
      kept: whole.turnMs <= BUDGET_MS,
      note: `accepting it ${round(whole.acceptMs)} ms`,
    },
    {
      name: `the same with a change of ${max('inventoryChangeTargetsMax')} targets`,
      value: round(changed.turnMs),
      unit: 'ms',
      budget: `≤ ${BUDGET_MS} ms`,
      kept: changed.turnMs <= BUDGET_MS,
      note: `accepting the slowest of them ${round(changed.acceptMs)} ms`,
    },
  ]
}

async function receive(lines: readonly string[]): Promise<{ turnMs: number; acceptMs: number }> {
  const endings: (() => void | Promise<void>)[] = []
  const server = await listen({ after: (work) => void endings.push(work) }, (socket) => {
    const send = async (): Promise<void> => {
      for (const line of lines) {
        if (!socket.write(`${line}\n`)) await once(socket, 'drain')
        await new Promise((resolve) => setTimeout(resolve, 100))
      }
      socket.end()
    }
    send().catch(() => socket.destroy())
  })
  const turns: number[] = []
  const accepts: number[] = []
  for (let turn = 0; turn < ROUNDS; turn++) {
    const [turnMs = 0, acceptMs = 0] = await runPart('./snapshot-receiver.ts', [server.port])
    turns.push(turnMs)
    accepts.push(acceptMs)
  }
  for (const end of endings) await end()
  // The least of them: what interrupts the receiver besides is the neighbours’ doing, not its own.
  return { turnMs: Math.min(...turns), acceptMs: Math.min(...accepts) }
}

function target(number: number, region: string): Target {
  const name = `database-${number}`
  return {
    ref: { kind: 'db', name },
    protocol: 'postgres',
    labels: { env: number % 3 === 0 ? 'prod' : 'stage', team: `team-${number % 97}`, region },
    agents: [`0f8fad5b-d9cb-469f-a165-${String(number % 500).padStart(12, '0')}`],
    label: name,
  }
}

function baseLines(signer: Signer): readonly string[] {
  const base = buildInventory(Array.from({ length: TARGETS }, (_, n) => target(n, 'eu-west')))
  const manifest = { kind: 'base', revision: 1, bytes: base.length } as const
  const body = encodeInventory({ ...manifest, sha256: hash('sha256', base, 'hex') })
  const { lockSet: _locks, beaconAtMs: _beacon, ...light } = testSnapshot({ nowMs: Date.now() })
  const first = encodeSnapshot({ ...light, class: 'proxy', signers: [signer.spki] })
  return [
    JSON.stringify({ body: base64(signer.spki) }),
    line(signer, 'snapshot', first),
    line(signer, 'inventory', body, zstdCompressSync(base)),
  ]
}

function changeLine(signer: Signer): string {
  const count = max('inventoryChangeTargetsMax')
  const put = Array.from({ length: count }, (_, n) => target(n, 'us-east'))
  return line(
    signer,
    'inventory',
    encodeInventory({ kind: 'delta', from: 1, revision: 2, put, remove: [] }),
  )
}

function line(signer: Signer, type: SnapshotType, body: Uint8Array, payload?: Uint8Array): string {
  const signature = base64(signer.sign(signedMessage(type, body)))
  const more = payload === undefined ? {} : { payload: base64(payload) }
  return JSON.stringify({ type, body: base64(body), signature, ...more })
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64')
}
