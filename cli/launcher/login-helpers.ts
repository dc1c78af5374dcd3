// The helper of a login (helper-main.ts): started when a connection first needs one, shared by all that have the same login, ended
// when the last of them is gone. Its socket lies in a folder of its own that the login owns and the agent's group may pass through.

import { randomBytes } from 'node:crypto'
import { chmodSync, chownSync, mkdirSync, rmdirSync, unlinkSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'
import { fileURLToPath } from 'node:url'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { HYGIENE_FLAGS } from '../supervisor/runtime.ts'
import type { Account } from './account.ts'
import { becoming } from './program-line.ts'
import { type SideProcess, startSideProcess } from './side-process.ts'

const MAIN = fileURLToPath(new URL('./helper-main.ts', import.meta.url))
const NAME_BYTES = 6

interface Helper {
  readonly folder: string
  readonly socket: string
  readonly started: Promise<SideProcess>
  users: number
}

/** One user's hold on a helper. */
export interface HelperUse {
  readonly socket: string
  readonly gone: Promise<void>
  /** Idempotent. */
  release(): void
}

export interface HelpersOptions {
  readonly folder: string
  readonly agentGid: number
  readonly path: (account: Account) => string
  readonly log: Logger
}

export class Helpers {
  readonly #options: HelpersOptions
  readonly #helpers = new Map<number, Helper>()

  constructor(options: HelpersOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#helpers.size
  }

  async use(account: Account): Promise<HelperUse> {
    const helper = this.#helpers.get(account.uid) ?? this.#start(account)
    if (helper.users >= max('helperUsersMax'))
      throw new ProxyError(
        'limit.exceeded',
        'Too many connections have this login: helperUsersMax.',
      )
    helper.users += 1
    let held = true
    const release = (): void => {
      if (!held) return
      held = false
      helper.users -= 1
      if (helper.users === 0) void this.#end(account.uid, helper)
    }
    try {
      const { gone } = await helper.started
      return { socket: helper.socket, gone, release }
    } catch (error) {
      release()
      throw error
    }
  }

  async close(): Promise<void> {
    await Promise.all([...this.#helpers].map(([uid, helper]) => this.#end(uid, helper)))
  }

  #start(account: Account): Helper {
    const folder = path.join(this.#options.folder, randomBytes(NAME_BYTES).toString('hex'))
    const socket = path.join(folder, 'helper.sock')
    this.#prepare(folder, account)
    const { home, name, shell } = account
    const env = {
      HOME: home,
      USER: name,
      LOGNAME: name,
      SHELL: shell,
      PATH: this.#options.path(account),
    }
    const words = [...becoming(account), process.execPath, ...HYGIENE_FLAGS, MAIN, socket]
    const started = startSideProcess(words, env)
    const helper: Helper = { folder, socket, started, users: 0 }
    this.#helpers.set(account.uid, helper)
    // One that ended by itself is no helper any more, whoever still holds it.
    started
      .then(({ gone }) => gone)
      .catch(() => {})
      .then(() => this.#end(account.uid, helper))
      .catch((error: unknown) =>
        this.#options.log.error('a helper was not removed', { error: String(error) }),
      )
    return helper
  }

  #prepare(folder: string, { uid }: Account): void {
    mkdirSync(folder, { mode: 0o700 })
    if (process.getuid?.() !== 0) return
    chownSync(folder, uid, this.#options.agentGid)
    chmodSync(folder, 0o2710)
  }

  async #end(uid: number, helper: Helper): Promise<void> {
    if (this.#helpers.get(uid) !== helper) return
    this.#helpers.delete(uid)
    await helper.started.then((process_) => process_.stop()).catch(() => {})
    this.#remove(helper)
  }

  /** Never a whole tree: the login may still turn what lies in its folder into a link to elsewhere. */
  #remove({ folder, socket }: Helper): void {
    try {
      unlinkSync(socket)
    } catch {
      // It took its socket with it.
    }
    try {
      rmdirSync(folder)
    } catch (error) {
      this.#options.log.warn('a helper’s folder stays', { folder, error: String(error) })
    }
  }
}
