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

type Begin = (start: RoleStart) => Promise<RunningRole>

/** Runs a role process to its end. `begin` starts the role and returns its handle. */
export function runRole(role: Role, begin: Begin): void {
  process.umask(0o077)
  const log = createLogger({ ...DEFAULT_LOG, component: role })
  const own = new RoleProcess(begin, log)
  // A stack of what was not expected: the one place where there is one.
  process.on('uncaughtExceptionMonitor', (error) =>
    log.error('uncaught', { error: error.stack ?? String(error) }),
  )
  if (role === 'proxy' || role === 'agent') process.on('exit', endAtOnce)
  process.on('message', (message: ToChild, handle: unknown) => own.heard(message, handle))
  process.on('disconnect', () => own.drain())
  // Signals to the whole group (Ctrl-C, a service manager) reach the supervisor too, and it decides the order of the end.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {})
}

/**
 * Node joins its worker threads when it exits, and its clean-up of a thread that had connections can spin for ever (seen with
 * 26.10, in Environment::CleanupHandles): such a process would stay, at full load. The kernel ends it instead. Nothing is lost:
 * what was acknowledged is on disk, and drained connections are closed.
 */
function endAtOnce(): void {
  process.kill(process.pid, 'SIGKILL')
}

class RoleProcess {
  readonly #begin: Begin
  readonly #log: Logger
  readonly #listeners: Record<string, BoundHandle> = {}
  #awaited: Extract<ToChild, { kind: 'start' }> | undefined
  #running: RunningRole | undefined
  #draining = false

  constructor(begin: Begin, log: Logger) {
    this.#begin = begin
    this.#log = log
  }

  heard(message: ToChild, handle: unknown): void {
    switch (message.kind) {
      case 'start':
        this.#awaited = message
        return this.#tryBegin()
      case 'listener':
        if (typeof handle === 'object' && handle !== null) this.#listeners[message.name] = handle
        return this.#tryBegin()
      case 'reload':
        this.#running
          ?.reload(message.config)
          .catch((error: unknown) => this.#log.error('reload failed', { error: String(error) }))
        return
      case 'local-token':
        return answerLocalToken(this.#running, message.role, this.#log)
      case 'drain':
        return this.drain()
    }
  }

  drain(): void {
    if (this.#draining) return
    this.#draining = true
    const ended = this.#running?.drain() ?? Promise.resolve()
    ended.then(
      () => process.exit(0),
      (error: unknown) => giveUp(this.#log, error),
    )
  }

  /** Begins once the configuration and every listener it names have come. */
  #tryBegin(): void {
    const awaited = this.#awaited
    if (awaited === undefined || awaited.listeners.some((name) => !(name in this.#listeners)))
      return
    this.#awaited = undefined
    const { config, configFile, local, passphrase } = awaited
    const start = {
      config,
      configFile,
      listeners: this.#listeners,
      ...(local === undefined ? {} : { local }),
      ...(passphrase === undefined ? {} : { passphrase }),
    }
    this.#begin(start).then(
      (running) => {
        this.#running = running
        tell({ kind: 'ready', addresses: running.addresses })
      },
      (error: unknown) => giveUp(this.#log, error),
    )
  }
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
