// The first lines of every role process: take configuration and listeners from the supervisor, start the role, say `ready`,
// then obey `reload` and `drain`. A role whose supervisor is gone ends: nobody would restart or stop it.

import process from 'node:process'

import { ProxyError } from '../../core/errors.ts'
import type { Logger } from '../../core/log.ts'
import type { BoundHandle } from '../supervisor/listeners.ts'
import type { FromChild, LocalJoin, Role, ToChild } from '../supervisor/messages.ts'
import { createLogger, DEFAULT_LOG } from '../logger.ts'

export interface RoleStart {
  readonly config: string
  readonly configFile: string
  /** Bound, not yet listening; by name. */
  readonly listeners: Readonly<Record<string, BoundHandle>>
  readonly local?: LocalJoin
  /** What key_passphrase_file holds; signer and control only. */
  readonly passphrase?: Uint8Array
}

export interface RunningRole {
  /** What it listens on, by listener name. */
  readonly addresses: Readonly<Record<string, string>>
  reload(config: string): Promise<void>
  drain(): Promise<void>
  /** Control only. */
  localToken?(role: 'proxy' | 'agent'): Promise<LocalJoin>
}

/** Runs a role process to its end. `begin` starts the role and returns its handle. */
export function runRole(role: Role, begin: (start: RoleStart) => Promise<RunningRole>): void {
  process.umask(0o077)
  const log = createLogger({ ...DEFAULT_LOG, component: role })
  const listeners: Record<string, BoundHandle> = {}
  let awaited: Extract<ToChild, { kind: 'start' }> | undefined
  let running: RunningRole | undefined
  let draining = false

  const tryBegin = (): void => {
    if (awaited === undefined || awaited.listeners.some((name) => !(name in listeners))) return
    const { config, configFile, local, passphrase } = awaited
    awaited = undefined
    begin({
      config,
      configFile,
      listeners,
      ...(local === undefined ? {} : { local }),
      ...(passphrase === undefined ? {} : { passphrase }),
    }).then(
      (role) => {
        running = role
        tell({ kind: 'ready', addresses: role.addresses })
      },
      (error: unknown) => giveUp(log, error),
    )
  }

  const drain = (): void => {
    if (draining) return
    draining = true
    const ended = running?.drain() ?? Promise.resolve()
    ended.then(
      () => process.exit(0),
      (error: unknown) => giveUp(log, error),
    )
  }

  process.on('message', (message: ToChild, handle: unknown) => {
    switch (message.kind) {
      case 'start':
        awaited = message
        return tryBegin()
      case 'listener':
        if (typeof handle === 'object' && handle !== null) listeners[message.name] = handle
        return tryBegin()
      case 'reload':
        running
          ?.reload(message.config)
          .catch((error: unknown) => log.error('reload failed', { error: String(error) }))
        return
      case 'local-token':
        answerLocalToken(running, message.role, log)
        return
      case 'drain':
        drain()
    }
  })
  process.on('disconnect', drain)
  // Signals to the whole group (Ctrl-C, a service manager) reach the supervisor too, and it decides the order of the end.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
}

function answerLocalToken(
  running: RunningRole | undefined,
  role: 'proxy' | 'agent',
  log: Logger,
): void {
  running?.localToken?.(role).then(
    (local) => tell({ kind: 'local-token', role, local }),
    (error: unknown) =>
      log.error('no join token for a role of this machine', { role, error: String(error) }),
  )
}

function tell(message: FromChild): void {
  if (process.connected) process.send?.(message)
}

function giveUp(log: Logger, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error)
  const detail = error instanceof ProxyError ? error.detail : undefined
  log.error('cannot start or stop cleanly', { error: message, detail })
  const next = error instanceof ProxyError ? error.next : undefined
  if (process.connected)
    process.send?.({ kind: 'failed', message, ...(next === undefined ? {} : { next }) }, () =>
      process.exit(1),
    )
  else process.exit(1)
}
