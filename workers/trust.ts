// What a worker thread believes: the newest snapshot, lock set and beacon its main thread handed it after verifying their
// signatures. One immutable view at a time; whoever depends on it registers for changes.

import { createPrivateKey } from 'node:crypto'

import type { TrustMessage } from '../core/messages.ts'
import type { LightSnapshot, LockSet, Snapshot } from '../core/snapshot.ts'
import type { SshKeyPair } from '../core/ssh/services.ts'

const NO_LOCKS: LockSet = { revision: 0, locks: [], generations: {} }

/** This process's certificate chain and key, PEM. */
export interface HostKeys {
  readonly certificate: string
  readonly key: string
}

/** This process's SSH host key (PKCS#8, PEM) and its certificate (wire bytes). */
export interface SshHostKeys {
  readonly certificate: Uint8Array
  readonly key: string
}

/** What a worker thread starts with of its process's own. */
export function ownKeys(host: HostKeys, ssh: SshHostKeys | undefined): readonly TrustMessage[] {
  return [
    { kind: 'host', ...host },
    ...(ssh === undefined ? [] : [{ kind: 'ssh-host', ...ssh } as const]),
  ]
}

export class Trust {
  #light: LightSnapshot | undefined
  #locks: LockSet = NO_LOCKS
  #beaconAtMs = 0
  #view: Snapshot | undefined
  #host: HostKeys | undefined
  #sshHost: readonly SshKeyPair[] = []
  readonly #resumption = new Map<string, Uint8Array>()
  readonly #watchers: ((what: TrustMessage['kind']) => void)[] = []

  /** The whole view, or undefined before the first snapshot arrived. */
  get snapshot(): Snapshot | undefined {
    return this.#view
  }

  get host(): HostKeys | undefined {
    return this.#host
  }

  /** What is shown to SSH clients; none until control has certified one. */
  get sshHost(): readonly SshKeyPair[] {
    return this.#sshHost
  }

  /** Session ticket keys of a TLS purpose (48 bytes), as main drew them. */
  resumptionKeys(purpose: string): Uint8Array | undefined {
    return this.#resumption.get(purpose)
  }

  /** Calls `watcher` after each change, with what changed. Watchers live as long as the thread. */
  onChange(watcher: (what: TrustMessage['kind']) => void): void {
    this.#watchers.push(watcher)
  }

  apply(message: TrustMessage): void {
    switch (message.kind) {
      case 'snapshot':
        this.#light = message.snapshot
        break
      case 'locks':
        this.#locks = message.lockSet
        break
      case 'beacon':
        this.#beaconAtMs = message.atMs
        break
      case 'host':
        this.#host = { certificate: message.certificate, key: message.key }
        break
      case 'ssh-host': {
        const { certificate, key } = message
        this.#sshHost = [{ certificate, key: createPrivateKey(key) }]
        break
      }
      case 'resumption-keys':
        this.#resumption.set(message.purpose, message.keys)
        break
    }
    if (this.#light !== undefined)
      this.#view = { ...this.#light, lockSet: this.#locks, beaconAtMs: this.#beaconAtMs }
    for (const watcher of this.#watchers) watcher(message.kind)
  }
}

/** True for the messages `Trust.apply` takes. */
export function isTrustMessage<M extends { readonly kind: string }>(
  message: M | TrustMessage,
): message is TrustMessage {
  return ['snapshot', 'locks', 'beacon', 'host', 'ssh-host', 'resumption-keys'].includes(
    message.kind,
  )
}
