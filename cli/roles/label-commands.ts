// Labels of a node that are what a command prints (`ssh_service.commands`): run at the start and each period, as this process's own user,
// without a shell and without this process's environment. Output and time are bounded. A command that fails keeps the value it had, or
// has none: a label that is unknown matches nothing.

import { execFile } from 'node:child_process'

import type { LabelCommand } from '../../control/config/types.ts'
import { durationMs } from '../../control/config/duration.ts'
import { max } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import type { Timers } from '../../workers/timers.ts'

/** What a command needs to be found and to print the same everywhere. */
const ENVIRONMENT = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  LC_ALL: 'C',
}

export interface LabelCommandsOptions {
  readonly commands: readonly LabelCommand[]
  readonly timers: Timers
  readonly log: Logger
  /** A value is another one than before. */
  readonly changed: () => void
}

export class LabelCommands {
  readonly #options: LabelCommandsOptions
  readonly #values = new Map<string, string>()
  readonly #waiting = new Map<LabelCommand, () => void>()
  readonly #stopping = new AbortController()

  constructor(options: LabelCommandsOptions) {
    this.#options = options
  }

  get labels(): Readonly<Record<string, string>> {
    return Object.fromEntries(this.#values)
  }

  /** Resolves when each command has run once. */
  async start(): Promise<void> {
    await Promise.all(this.#options.commands.map((command) => this.#run(command)))
  }

  stop(): void {
    this.#stopping.abort()
    for (const cancel of this.#waiting.values()) cancel()
    this.#waiting.clear()
  }

  async #run(command: LabelCommand): Promise<void> {
    this.#waiting.delete(command)
    const { log, timers, changed } = this.#options
    const { name } = command
    const value = await this.#ask(command).catch((error: unknown) => {
      if (!this.#stopping.signal.aborted)
        log.warn('the command of a label failed', { label: name, error: String(error) })
      return undefined
    })
    if (this.#stopping.signal.aborted) return
    const again = timers.after(durationMs(command.period), () => void this.#run(command))
    this.#waiting.set(command, again)
    if (value === undefined || this.#values.get(name) === value) return
    this.#values.set(name, value)
    changed()
  }

  #ask({ command }: LabelCommand): Promise<string> {
    const [file = '', ...words] = command
    const options = {
      env: ENVIRONMENT,
      cwd: '/',
      timeout: max('labelCommandMs'),
      killSignal: 'SIGKILL',
      maxBuffer: max('labelCommandBytesMax'),
      signal: this.#stopping.signal,
    } as const
    return new Promise((resolve, reject) => {
      const child = execFile(file, words, options, (error, stdout) => {
        if (error === null) resolve(printed(stdout))
        else reject(new Error(error.message))
      })
      child.stdin?.end()
    })
  }
}

/** On one line and without what a terminal would obey. */
function printed(output: string): string {
  return output.trim().replaceAll(/\p{Cc}+/gu, ' ')
}
