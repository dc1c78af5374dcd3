// What the launcher believes of control: the same signed messages an agent believes, handed on by the agent and verified here again.
// The signers the agent was joined to are taken once, while none are known; from then on only what those sign counts, and no revision
// goes back, whatever the agent says. Kept in a folder that the agent cannot enter.

import { z } from 'zod'

import type { Clock } from '../../core/clock.ts'
import type { Logger } from '../../core/log.ts'
import type { SignedMessage } from '../../core/snapshot-codec.ts'
import { type Kept, type SavedTrust, SnapshotKeeper } from '../../core/snapshot-keeper.ts'
import type { LightSnapshot, LockSet, Snapshot } from '../../core/snapshot.ts'

/** Where it is kept: a KeptFile (cli/roles/kept-file.ts). */
export interface TrustFile {
  read(): string | undefined
  write(text: string): void
}

const message = z.strictObject({ body: z.string(), signature: z.string() })
const savedTrust = z.strictObject({
  signers: z.array(z.string()).min(1),
  revision: z.int().min(0),
  lockRevision: z.int().min(0),
  snapshot: message.optional(),
  locks: message.optional(),
})

export class LauncherTrust {
  readonly #file: TrustFile
  readonly #clock: Clock
  readonly #log: Logger
  #keeper: SnapshotKeeper | undefined
  #light: LightSnapshot | undefined
  #locks: LockSet | undefined

  constructor(file: TrustFile, clock: Clock, log: Logger) {
    this.#file = file
    this.#clock = clock
    this.#log = log
    const text = file.read()
    // A file that is no trust of ours stops the start: to begin anew would be to believe anybody.
    if (text !== undefined) this.#keep(savedFrom(text))
  }

  /** The whole view; undefined until both a snapshot and a lock set were believed. */
  get snapshot(): Snapshot | undefined {
    const [light, lockSet, keeper] = [this.#light, this.#locks, this.#keeper]
    if (light === undefined || lockSet === undefined || keeper === undefined) return undefined
    return { ...light, lockSet, beaconAtMs: keeper.freshAtMs }
  }

  /** First trust: whom the agent's identity names. Afterwards without effect. */
  introduce(signers: readonly Uint8Array[]): void {
    if (this.#keeper !== undefined || signers.length === 0) return
    const texts = signers.map((spki) => Buffer.from(spki).toString('base64'))
    const saved = { signers: texts, revision: 0, lockRevision: 0 }
    this.#file.write(JSON.stringify(saved))
    this.#keep(saved)
    this.#log.info('first trust: signers of control are remembered', { signers: texts.length })
  }

  accept(signed: SignedMessage): void {
    if (this.#keeper !== undefined) this.#apply(this.#keeper.accept(signed))
  }

  #keep(saved: SavedTrust): void {
    const save = (newer: SavedTrust): void => this.#file.write(JSON.stringify(newer))
    this.#keeper = new SnapshotKeeper({ class: 'agent', saved, clock: this.#clock, save })
    for (const kept of this.#keeper.restore()) this.#apply(kept)
  }

  #apply(kept: Kept): void {
    switch (kept.kind) {
      case 'snapshot':
        this.#light = kept.snapshot
        return
      case 'locks':
        this.#locks = kept.lockSet
        return
      case 'refused':
        return this.#log.warn('a message of control is refused', { reason: kept.reason })
      case 'beacon':
      case 'inventory-base':
      case 'inventory-delta':
      case 'other':
        return
    }
  }
}

function savedFrom(text: string): SavedTrust {
  const { snapshot, locks, ...rest } = savedTrust.parse(JSON.parse(text))
  return {
    ...rest,
    ...(snapshot === undefined ? {} : { snapshot }),
    ...(locks === undefined ? {} : { locks }),
  }
}
