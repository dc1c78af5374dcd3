// Whom the launcher believes: the first signers it is told of, then only what those sign, and nothing older, over restarts too.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { systemClock } from '../../core/clock.ts'
import { silentLogger } from '../../core/log.ts'
import { FakeControl } from './launcher.fixture.ts'
import { LauncherTrust, type TrustFile } from './trust.ts'

function memory(): TrustFile & { text: string | undefined } {
  return {
    text: undefined,
    read() {
      return this.text
    },
    write(text) {
      this.text = text
    },
  }
}

function trustIn(file: TrustFile): LauncherTrust {
  return new LauncherTrust(file, systemClock, silentLogger)
}

function spki(control: FakeControl): readonly Uint8Array[] {
  return control.signers.map((text) => Buffer.from(text, 'base64'))
}

describe('the launcher’s trust', () => {
  it('is nothing before somebody was introduced, and not whole without locks', () => {
    const control = new FakeControl()
    const trust = trustIn(memory())
    trust.accept(control.snapshot())
    const whole = (): boolean => trust.snapshot !== undefined
    assert.equal(whole(), false)
    trust.introduce(spki(control))
    trust.accept(control.snapshot())
    assert.equal(whole(), false)
    trust.accept(control.locks())
    assert.equal(whole(), true)
  })

  it('stays with the first, whoever is introduced later, over a restart', () => {
    const [control, other] = [new FakeControl(), new FakeControl()]
    const file = memory()
    const first = trustIn(file)
    first.introduce(spki(control))
    for (const message of [control.locks(), control.snapshot()]) first.accept(message)
    const held = first.snapshot?.revision
    for (const trust of [first, trustIn(file)]) {
      trust.introduce(spki(other))
      for (let count = 0; count < 5; count++) {
        trust.accept(other.locks())
        trust.accept(other.snapshot())
      }
      assert.equal(trust.snapshot?.revision, held)
      assert.deepEqual(
        trust.snapshot?.ssh?.user,
        [control.ca.blob].map((blob) => Buffer.from(blob)),
      )
    }
  })

  it('goes back to no older locks, over a restart', () => {
    const control = new FakeControl()
    const file = memory()
    const trust = trustIn(file)
    trust.introduce(spki(control))
    const older = control.locks()
    trust.accept(control.snapshot())
    trust.accept(control.locks({ generations: { 'user:local/alice': 3 } }))
    const again = trustIn(file)
    again.accept(older)
    assert.deepEqual(again.snapshot?.lockSet.generations, { 'user:local/alice': 3 })
  })

  it('that cannot be read stops the start', () => {
    for (const text of ['', '{}', '{"signers":[],"revision":0,"lockRevision":0}']) {
      const file = memory()
      file.text = text
      assert.throws(() => trustIn(file))
    }
  })
})
