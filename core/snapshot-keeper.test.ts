// What a receiver believes: signatures, revisions, freshness. Messages are signed with a key of the test's own.

import assert from 'node:assert/strict'
import { generateKeyPairSync, hash, sign } from 'node:crypto'
import { describe, it } from 'node:test'
import { zstdCompressSync } from 'node:zlib'

import { signedMessage, type SnapshotType } from './cert/signed.ts'
import { FakeClock } from './clock.ts'
import { buildInventory } from './inventory.ts'
import {
  encodeBeacon,
  encodeInventory,
  encodeLocks,
  encodeSnapshot,
  type SignedMessage,
} from './snapshot-codec.ts'
import { type Kept, type SavedTrust, SnapshotKeeper } from './snapshot-keeper.ts'
import type { LightSnapshot, Target } from './snapshot.ts'

const START_MS = Date.UTC(2026, 0, 1)

interface Key {
  readonly spki: Uint8Array
  seal(type: SnapshotType, body: Uint8Array): SignedMessage
}

function newKey(): Key {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  return {
    spki: publicKey.export({ type: 'spki', format: 'der' }),
    seal: (type, body) => ({
      type,
      body,
      signature: sign(null, signedMessage(type, body), privateKey),
    }),
  }
}

function snapshot(revision: number, key: Key, change: Partial<LightSnapshot> = {}): LightSnapshot {
  return {
    revision,
    class: 'proxy',
    issuedAtMs: START_MS,
    cas: { user: [Buffer.from('u')], host: [], target: [], db: [], db_client: [] },
    signers: [key.spki],
    roles: [],
    config: {
      cluster: 'c.test',
      recording: 'off',
      lockingMode: 'best_effort',
      disconnectExpiredCert: false,
      maxConnectionsMode: 'best_effort',
    },
    proxies: [{ id: 'p', address: 'p.test:443' }],
    ...change,
  }
}

function keeper(
  key: Key,
  saved: Partial<SavedTrust> = {},
): {
  keeper: SnapshotKeeper
  clock: FakeClock
  saves: SavedTrust[]
} {
  const clock = new FakeClock(START_MS)
  const saves: SavedTrust[] = []
  const signers = [Buffer.from(key.spki).toString('base64')]
  return {
    clock,
    saves,
    keeper: new SnapshotKeeper({
      class: 'proxy',
      clock,
      saved: { signers, revision: 0, lockRevision: 0, ...saved },
      save: (trust) => saves.push(trust),
    }),
  }
}

function code(kept: Kept): string {
  return kept.kind === 'refused' ? kept.code : kept.kind
}

describe('SnapshotKeeper', () => {
  it('takes a signed snapshot, gives its bytes back equal and saves before use', () => {
    const key = newKey()
    const { keeper: kept, saves } = keeper(key)
    const sent = snapshot(3, key)
    const got = kept.accept(key.seal('snapshot', encodeSnapshot(sent)))
    assert.deepEqual(got, { kind: 'snapshot', snapshot: sent })
    assert.equal(saves.at(-1)?.revision, 3)
  })

  it('refuses a snapshot another key signed, one byte changed, and one signed as another type', () => {
    const key = newKey()
    const { keeper: kept, saves } = keeper(key)
    const body = encodeSnapshot(snapshot(3, key))
    assert.equal(code(kept.accept(newKey().seal('snapshot', body))), 'snapshot.forged')
    const good = key.seal('snapshot', body)
    const changed = Uint8Array.from(body)
    changed[20] = (changed[20] ?? 0) ^ 1
    assert.equal(code(kept.accept({ ...good, body: changed })), 'snapshot.forged')
    assert.equal(
      code(kept.accept({ ...key.seal('locks', body), type: 'snapshot' })),
      'snapshot.forged',
    )
    assert.deepEqual(saves, [])
  })

  it('never goes back, over a restart too', () => {
    const key = newKey()
    const first = keeper(key)
    first.keeper.accept(key.seal('snapshot', encodeSnapshot(snapshot(5, key))))
    const saved = first.saves.at(-1)
    const { keeper: kept } = keeper(key, saved)
    assert.equal(
      code(kept.accept(key.seal('snapshot', encodeSnapshot(snapshot(4, key))))),
      'snapshot.rolled-back',
    )
    assert.equal(
      code(kept.accept(key.seal('snapshot', encodeSnapshot(snapshot(5, key))))),
      'snapshot',
    )
    const locks = (revision: number): SignedMessage =>
      key.seal('locks', encodeLocks({ revision, locks: [], generations: {} }))
    assert.equal(code(kept.accept(locks(2))), 'locks')
    assert.equal(code(kept.accept(locks(1))), 'snapshot.rolled-back')
  })

  it('restores what was saved, so that a restart without control still has a policy', () => {
    const key = newKey()
    const first = keeper(key)
    first.keeper.accept(
      key.seal(
        'locks',
        encodeLocks({ revision: 1, locks: [], generations: { 'user:local/a': 2 } }),
      ),
    )
    first.keeper.accept(key.seal('snapshot', encodeSnapshot(snapshot(5, key))))
    const { keeper: kept } = keeper(key, first.saves.at(-1))
    assert.deepEqual(kept.restore().map(code), ['locks', 'snapshot'])
  })

  it('believes the signers a snapshot names from then on, and no other', () => {
    const [old, next] = [newKey(), newKey()]
    const { keeper: kept } = keeper(old)
    kept.accept(old.seal('snapshot', encodeSnapshot(snapshot(1, next))))
    assert.equal(
      code(kept.accept(old.seal('snapshot', encodeSnapshot(snapshot(2, old))))),
      'snapshot.forged',
    )
    assert.equal(
      code(kept.accept(next.seal('snapshot', encodeSnapshot(snapshot(2, next))))),
      'snapshot',
    )
  })

  it('is stale while a lock set that a beacon announces is withheld', () => {
    const key = newKey()
    const { keeper: kept, clock } = keeper(key)
    kept.accept(key.seal('snapshot', encodeSnapshot(snapshot(1, key))))
    kept.accept(key.seal('locks', encodeLocks({ revision: 1, locks: [], generations: {} })))
    const beacon = (lockRevision: number): Kept =>
      kept.accept(
        key.seal(
          'beacon',
          encodeBeacon({ snapshotRevision: 1, lockRevision, timeMs: clock.now() }),
        ),
      )
    assert.equal(beacon(1).kind, 'beacon')
    assert.equal(kept.staleMs(), 0)
    clock.advance(1000)
    const withheld = beacon(2)
    assert.equal(withheld.kind === 'beacon' && withheld.fresh, false)
    clock.advance(9000)
    assert.equal(kept.staleMs(), 10_000)
    kept.accept(key.seal('locks', encodeLocks({ revision: 2, locks: [], generations: {} })))
    assert.equal(kept.staleMs(), 9000)
  })

  it('does not count a replayed beacon as news', () => {
    const key = newKey()
    const { keeper: kept, clock } = keeper(key)
    const beacon = key.seal(
      'beacon',
      encodeBeacon({ snapshotRevision: 0, lockRevision: 0, timeMs: clock.now() }),
    )
    kept.accept(beacon)
    clock.advance(400_000)
    assert.equal(kept.accept(beacon).kind, 'other')
    assert.equal(kept.staleMs(), 400_000)
  })

  it('does not believe a beacon of the future, and believes the next one when the clocks agree again', () => {
    const key = newKey()
    const { keeper: kept, clock } = keeper(key)
    const beacon = (timeMs: number): Kept =>
      kept.accept(
        key.seal('beacon', encodeBeacon({ snapshotRevision: 0, lockRevision: 0, timeMs })),
      )
    beacon(clock.now())
    clock.advance(1000)
    const ahead = beacon(clock.now() + 13 * 3_600_000)
    assert.equal(ahead.kind === 'beacon' && ahead.fresh, false)
    assert.equal(ahead.kind === 'beacon' && ahead.skewMs, -13 * 3_600_000)
    assert.equal(kept.staleMs(), 1000)
    clock.advance(1000)
    const again = beacon(clock.now())
    assert.equal(again.kind === 'beacon' && again.fresh, true)
    assert.equal(kept.staleMs(), 0)
  })

  it('is as stale as can be while its clock is put back, and fresh when it is set right', () => {
    const key = newKey()
    const { keeper: kept, clock } = keeper(key)
    const beacon = (): Kept =>
      kept.accept(
        key.seal(
          'beacon',
          encodeBeacon({ snapshotRevision: 0, lockRevision: 0, timeMs: clock.now() }),
        ),
      )
    beacon()
    clock.jump(-13 * 3_600_000)
    assert.equal(kept.staleMs(), Number.POSITIVE_INFINITY)
    clock.jump(13 * 3_600_000 + 1000)
    beacon()
    assert.equal(kept.staleMs(), 0)
  })

  it('says how far its clock is from control’s', () => {
    const key = newKey()
    const { keeper: kept, clock } = keeper(key)
    const got = kept.accept(
      key.seal(
        'beacon',
        encodeBeacon({ snapshotRevision: 0, lockRevision: 0, timeMs: clock.now() - 90_000 }),
      ),
    )
    assert.equal(got.kind === 'beacon' && got.skewMs, 90_000)
  })

  it('takes an inventory base only with the bytes its manifest names, and deltas in order', () => {
    const key = newKey()
    const { keeper: kept } = keeper(key)
    const base = buildInventory([])
    const manifest = key.seal(
      'inventory',
      encodeInventory({
        kind: 'base',
        revision: 4,
        sha256: hash('sha256', base, 'hex'),
        bytes: base.length,
      }),
    )
    assert.equal(code(kept.accept(manifest)), 'snapshot.forged')
    assert.equal(
      code(kept.accept({ ...manifest, payload: zstdCompressSync(Buffer.alloc(8)) })),
      'snapshot.forged',
    )
    assert.equal(
      code(kept.accept({ ...manifest, payload: zstdCompressSync(Buffer.alloc(1 << 20)) })),
      'snapshot.forged',
    )
    assert.equal(
      code(kept.accept({ ...manifest, payload: zstdCompressSync(base) })),
      'inventory-base',
    )
    const target: Target = {
      ref: { kind: 'db', name: 'a' },
      protocol: 'postgres',
      labels: {},
      agents: ['x'],
      label: 'a',
    }
    const delta = (from: number): SignedMessage =>
      key.seal(
        'inventory',
        encodeInventory({ kind: 'delta', from, revision: from + 1, put: [target], remove: [] }),
      )
    assert.equal(code(kept.accept(delta(5))), 'snapshot.stale')
    assert.equal(code(kept.accept(delta(4))), 'inventory-delta')
  })

  it('makes a role with a part it does not know refuse everything, and names the part', () => {
    const key = newKey()
    const { keeper: kept } = keeper(key)
    const role = {
      name: 'r',
      version: 'v7',
      options: { disconnectExpiredCert: true, newOption: true },
      allow: { rules: [] },
      deny: { rules: [], newDeny: {} },
      unenforced: [],
    }
    const got = kept.accept(
      key.seal('snapshot', encodeSnapshot({ ...snapshot(1, key), roles: [role] })),
    )
    assert.ok(got.kind === 'snapshot')
    assert.deepEqual(
      got.snapshot.roles[0]?.unenforced.map(({ field, effect }) => [field, effect]),
      [
        ['newOption', 'refuses'],
        ['newDeny', 'refuses'],
      ],
    )
  })

  it('refuses configuration with a key it does not know', () => {
    const key = newKey()
    const { keeper: kept } = keeper(key)
    const { config } = snapshot(1, key)
    const strange = { ...config, deviceTrust: 'required' }
    assert.equal(
      code(
        kept.accept(key.seal('snapshot', encodeSnapshot(snapshot(1, key, { config: strange })))),
      ),
      'snapshot.forged',
    )
  })

  it('passes the other class on without keeping it', () => {
    const key = newKey()
    const { keeper: kept, saves } = keeper(key)
    assert.equal(
      code(kept.accept(key.seal('snapshot', encodeSnapshot(snapshot(9, key, { class: 'agent' }))))),
      'other',
    )
    assert.deepEqual(saves, [])
  })
})
