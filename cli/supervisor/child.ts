// One supervised role: forked, started, watched, restarted with a growing pause, drained, ended. Owns its process and its timers.

import { type ChildProcess, fork } from 'node:child_process'
import path from 'node:path'

import type { Logger } from '../../core/log.ts'
import type { BoundHandle } from './listeners.ts'
import type { FromChild, LocalJoin, Role, ToChild } from './messages.ts'
import {
  childEnvironment,
  HYGIENE_FLAGS,
  launch,
  type Runtime,
  STREAMING_FLAGS,
} from './runtime.ts'

const RESTART_FIRST_MS = 200
const RESTART_LONGEST_MS = 10_000
/** A role that ran this long is forgiven its earlier crashes. */
const HEALTHY_AFTER_MS = 30_000

export interface ChildOptions {
  readonly role: Role
  readonly runtime: Runtime
  /** Text of sluice.yaml: a role may not be allowed to read the file itself. */
  readonly config: string
  readonly configFile: string
  readonly listeners: Readonly<Record<string, BoundHandle>>
  /** Set when the supervisor is root. */
  readonly uid?: number
  readonly gid?: number
  /** Extra flags, such as a heap limit. */
  readonly flags?: readonly string[]
  readonly log: Logger
  readonly passphrase?: Uint8Array
  /** Asked before each start of a role that may have to join. */
  readonly localJoin?: () => Promise<LocalJoin | undefined>
  onMessage(message: FromChild): void
  /** The role cannot start and says why; the supervisor decides whether to give up. */
  onFailed(message: string, next: string | undefined): void
}

export class Child {
  readonly role: Role
  #options: ChildOptions
  #process: ChildProcess | undefined
  #stopping = false
  #pauseMs = RESTART_FIRST_MS
  #restart: NodeJS.Timeout | undefined
  #exited: Promise<void> = Promise.resolve()

  constructor(options: ChildOptions) {
    this.role = options.role
    this.#options = options
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  /** Forks the role and hands it its listeners. The `ready` message tells when it serves. */
  async start(): Promise<void> {
    const { role, runtime, uid, gid, log } = this.#options
    const local = await this.#options.localJoin?.()
    if (this.#stopping) return
    const child = fork(path.join(runtime.root, `cli/roles/${role}.ts`), [], {
      cwd: '/',
      env: childEnvironment(),
      ...launch(
        runtime.node,
        [
          ...HYGIENE_FLAGS,
          ...(role === 'proxy' || role === 'agent' ? STREAMING_FLAGS : []),
          ...(this.#options.flags ?? []),
        ],
        role === 'launcher',
      ),
      serialization: 'advanced',
      stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
      ...(uid === undefined ? {} : { uid }),
      ...(gid === undefined ? {} : { gid }),
    })
    this.#process = child
    log.info('role started', { role, pid: child.pid })
    const startedAt = performance.now()
    this.#exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        resolve()
        this.#ended(child, startedAt, signal ?? `status ${code}`)
      })
    })
    child.on('error', (error) => log.error('role process error', { role, error: error.message }))
    child.on('message', (message) => this.#heard(message as FromChild))
    this.#greet(child, local)
  }

  send(message: ToChild, handle?: BoundHandle): void {
    const child = this.#process
    if (child?.connected !== true) return
    // A failed send means the child is gone; its exit event follows and restarts it.
    child.send(message, handle as never, {}, () => {})
  }

  /** The configuration changed: the running role hears it, and a restarted one starts with it. */
  reload(config: string): void {
    this.#options = { ...this.#options, config }
    this.send({ kind: 'reload', config })
  }

  /** Asks the role to drain; after `deadlineMs` it is ended. */
  async stop(deadlineMs: number): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#restart)
    const child = this.#process
    if (child === undefined) return
    this.send({ kind: 'drain' })
    const timer = setTimeout(() => child.kill('SIGKILL'), deadlineMs)
    await this.#exited
    clearTimeout(timer)
  }

  #greet(child: ChildProcess, local: LocalJoin | undefined): void {
    const { listeners, config, configFile, passphrase } = this.#options
    const names = Object.keys(listeners)
    this.send({
      kind: 'start',
      config,
      configFile,
      listeners: names,
      ...(local === undefined ? {} : { local }),
      ...(passphrase === undefined ? {} : { passphrase }),
    })
    for (const name of names)
      if (child.connected) this.send({ kind: 'listener', name }, listeners[name])
  }

  #heard(message: FromChild): void {
    if (message.kind === 'failed') this.#options.onFailed(message.message, message.next)
    this.#options.onMessage(message)
  }

  #ended(child: ChildProcess, startedAt: number, how: string): void {
    if (this.#process === child) this.#process = undefined
    if (this.#stopping) return
    if (performance.now() - startedAt > HEALTHY_AFTER_MS) this.#pauseMs = RESTART_FIRST_MS
    const { role, log } = this.#options
    log.error('role ended; starting it again', { role, how, inMs: this.#pauseMs })
    this.#restart = setTimeout(() => {
      this.start().catch((error: unknown) =>
        log.error('role did not start', { role, error: String(error) }),
      )
    }, this.#pauseMs)
    this.#pauseMs = Math.min(this.#pauseMs * 2, RESTART_LONGEST_MS)
  }
}
