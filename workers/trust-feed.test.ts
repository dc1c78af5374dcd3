// What a main thread believes and hands on: in order, never a lie, never to the wrong class, again after a restart.

import assert from 'node:assert/strict'
import { generateKeyPairSync, sign } from 'node:crypto'
import { describe, it } from 'node:test'

import { signedMessage, type SnapshotType } from '../core/cert/signed.ts'
import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { type Logger, silentLogger } from '../core/log.ts'
import type { TrustMessage } from '../core/messages.ts'
import {
  encodeBeacon,
  encodeLocks,
  encodeSnapshot,
  type SignedMessage,
} from '../core/snapshot-codec.ts'
import type { SavedTrust } from '../core/snapshot-keeper.ts'
import type { SnapshotClass } from '../core/snapshot.ts'
import { testSnapshot } from '../test/fixtures/rights.ts'
import { Anchor } from './anchor.ts'
import { TrustFeed } from './trust-feed.ts'

const START_MS = Date.UTC(2026, 0, 1)
const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const SPKI = publicKey.export({ type: 'spki', format: 'der' })
const STRANGER = generateKeyPairSync('ed25519').privateKey

interface Rig {
  readonly feed: TrustFeed
  readonly clock: FakeClock
  readonly changes: TrustMessage[]
  readonly refused: string[]
  readonly forwarded: SignedMessage[]
  readonly warnings: string[]
  saved: SavedTrust
}

function start(saved?: SavedTrust): Rig {
  const clock = new FakeClock(START_MS)
  const [changes, refused]: [TrustMessage[], string[]] = [[], []]
  const [forwarded, warnings]: [SignedMessage[], string[]] = [[], []]
  const log: Logger = { ...silentLogger, warn: (message) => void warnings.push(message) }
  const first = {
    signers: [Buffer.from(SPKI).toString('base64')],
    revision: 0,
    lockRevision: 0,
  }
  const feed = new TrustFeed({
    class: 'proxy',
    saved: saved ?? first,
    save: (trust) => (rig.saved = trust),
    clock,
    log,
    onChange: (message) => changes.push(message),
    onRefused: ({ code, type }, carrier) => refused.push(`${type} ${code} ${carrier}`),
    anchor: new Anchor({ saved: undefined, save: () => {}, onFork: () => {} }),
    onForward: (message) => forwarded.push(message),
  })
  const rig: Rig = { feed, clock, changes, refused, forwarded, warnings, saved: saved ?? first }
  return rig
}

function seal(type: SnapshotType, body: Uint8Array, key = privateKey): SignedMessage {
  return { type, body, signature: sign(null, signedMessage(type, body), key) }
}

function snapshot(revision: number, of: SnapshotClass): SignedMessage {
  const { lockSet: _locks, beaconAtMs: _at, ...light } = testSnapshot({ nowMs: START_MS })
  return seal('snapshot', encodeSnapshot({ ...light, class: of, revision, signers: [SPKI] }))
}

function locks(revision: number, key = privateKey): SignedMessage {
  return seal('locks', encodeLocks({ revision, locks: [], generations: {} }), key)
}

function beacon(snapshotRevision: number, lockRevision: number, timeMs: number): SignedMessage {
  return seal('beacon', encodeBeacon({ snapshotRevision, lockRevision, timeMs }))
}

describe('TrustFeed', () => {
  it('hands every change on in the order it came', () => {
    const { feed, changes, clock } = start()
    feed.accept(locks(1), 'control')
    feed.accept(snapshot(1, 'proxy'), 'control')
    feed.accept(beacon(1, 1, clock.now()), 'control')
    assert.deepEqual(
      changes.map(({ kind }) => kind),
      ['locks', 'snapshot', 'beacon'],
    )
    assert.equal(feed.snapshot?.revision, 1)
    assert.equal(feed.lockSet.revision, 1)
  })

  it('believes and forwards nothing a stranger signed, and says who carried it', () => {
    const { feed, changes, refused, forwarded } = start()
    feed.accept(locks(7, STRANGER), 'proxy-1')
    assert.deepEqual(refused, ['locks snapshot.forged proxy-1'])
    assert.deepEqual([changes, forwarded, feed.forwarded], [[], [], []])
  })

  it('does not go back, and keeps what it had for agents', () => {
    const { feed, refused } = start()
    feed.accept(locks(5), 'control')
    feed.accept(locks(4), 'control')
    assert.deepEqual(refused, ['locks snapshot.rolled-back control'])
    assert.deepEqual(feed.forwarded, [locks(5)])
  })

  it('passes agents their own class of snapshot, never the proxy’s', () => {
    const { feed, changes, forwarded } = start()
    const forAgents = snapshot(2, 'agent')
    feed.accept(snapshot(2, 'proxy'), 'control')
    feed.accept(forAgents, 'control')
    assert.deepEqual(forwarded, [forAgents])
    assert.deepEqual(
      changes.map(({ kind }) => kind),
      ['snapshot'],
    )
  })

  it('gives a newly linked agent the newest of each, locks first', () => {
    const { feed, clock } = start()
    feed.accept(snapshot(1, 'agent'), 'control')
    feed.accept(beacon(0, 1, clock.now()), 'control')
    feed.accept(locks(1), 'control')
    feed.accept(locks(2), 'control')
    assert.deepEqual(
      feed.forwarded.map(({ type }) => type),
      ['locks', 'snapshot', 'beacon'],
    )
    assert.deepEqual(feed.forwarded[0], locks(2))
  })

  it('has its policy again after a restart without control', () => {
    const before = start()
    before.feed.accept(locks(3), 'control')
    before.feed.accept(snapshot(4, 'proxy'), 'control')
    const { feed, changes } = start(before.saved)
    feed.restore()
    assert.deepEqual([feed.snapshot?.revision, feed.lockSet.revision], [4, 3])
    assert.deepEqual(
      feed.current().map(({ kind }) => kind),
      ['locks', 'snapshot', 'beacon'],
    )
    assert.equal(changes.length, 2)
  })

  it('warns of a clock that is off, once a minute and not for each beacon', () => {
    const { feed, clock, warnings } = start()
    feed.accept(locks(1), 'control')
    const off = (): void =>
      feed.accept(beacon(0, 1, clock.now() + 2 * max('clockSkewWarnMs')), 'control')
    off()
    clock.advance(1000)
    off()
    assert.equal(warnings.length, 1)
    clock.advance(max('clockSkewRefuseMs'))
    off()
    assert.equal(warnings.length, 2)
  })
})
