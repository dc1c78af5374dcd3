// Keeps the process that holds terminals (terminals-main.ts) running under the agent's uid: started with the launcher, started again
// with a growing pause when it ends. Its folder is the agent's own; after it was made, nothing in there is touched as root.

import { chownSync, mkdirSync } from 'node:fs'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

import type { Logger } from '../../core/log.ts'
import type { LaunchPaths } from '../../workers/launch-wire.ts'
import { HYGIENE_FLAGS } from '../supervisor/runtime.ts'
import { type SideProcess, startSideProcess } from './side-process.ts'

const MAIN = fileURLToPath(new URL('./terminals-main.ts', import.meta.url))
const SETPRIV = '/usr/bin/setpriv'
const RESTART_FIRST_MS = 200
const RESTART_LONGEST_MS = 10_000

export interface TerminalsProcessOptions {
  readonly paths: LaunchPaths
  readonly agentUid: number
  readonly agentGid: number
  readonly log: Logger
}

export class TerminalsProcess {
  readonly #options: TerminalsProcessOptions
  #process: SideProcess | undefined
  #pauseMs = RESTART_FIRST_MS
  #restart: NodeJS.Timeout | undefined
  #stopping = false

  constructor(options: TerminalsProcessOptions) {
    this.#options = options
  }

  get pid(): number | undefined {
    return this.#process?.pid
  }

  async start(): Promise<void> {
    const { paths, agentUid, agentGid } = this.#options
    mkdirSync(paths.terminals, { recursive: true, mode: 0o700 })
    if (process.getuid?.() === 0) chownSync(paths.terminals, agentUid, agentGid)
    await this.#start()
  }

  async stop(): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#restart)
    await this.#process?.stop()
  }

  async #start(): Promise<void> {
    const running = await startSideProcess(this.#words(), {})
    this.#process = running
    void running.gone.then(() => this.#ended())
    if (this.#stopping) await running.stop()
  }

  #words(): readonly string[] {
    const { paths, agentUid, agentGid } = this.#options
    // It loads the addon, and is the only process that does; no login's uid, no root, no way to either.
    const flags = HYGIENE_FLAGS.filter((flag) => flag !== '--no-addons')
    const node = [process.execPath, ...flags, MAIN, paths.terminal]
    if (process.getuid?.() !== 0) return node
    const ids = [`--reuid=${agentUid}`, `--regid=${agentGid}`, '--clear-groups']
    return [SETPRIV, ...ids, '--no-new-privs', '--', ...node]
  }

  #ended(): void {
    this.#process = undefined
    if (this.#stopping) return
    const { log } = this.#options
    log.error('the process that holds terminals ended; starting it again', { inMs: this.#pauseMs })
    this.#restart = setTimeout(() => {
      this.#start().catch((error: unknown) => {
        log.error('the process that holds terminals did not start', { error: String(error) })
        this.#ended()
      })
    }, this.#pauseMs)
    this.#pauseMs = Math.min(this.#pauseMs * 2, RESTART_LONGEST_MS)
  }
}
