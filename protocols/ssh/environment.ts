// Variables of a program: those a client may set, and those that say who it runs for. A client's names are a short list, since others
// change what a login shell runs (LD_PRELOAD, BASH_ENV, PATH). Values are never told to the audit log.

import { max } from '../../core/limits.ts'

const NAMES: ReadonlySet<string> = new Set([
  'LANG',
  'LANGUAGE',
  'COLORTERM',
  'NO_COLOR',
  'TERM_PROGRAM',
  'TERM_PROGRAM_VERSION',
])
const LOCALE = /^LC_[A-Z0-9_]{1,32}$/

export class Environment {
  readonly #client = new Map<string, string>()

  /** A variable that the client wants. False: not this one. */
  set(name: string, value: string): boolean {
    if (!NAMES.has(name) && !LOCALE.test(name)) return false
    if (Buffer.byteLength(value) > max('sshVariableBytesMax') || value.includes('\0')) return false
    if (this.#client.size >= max('sshVariablesMax') && !this.#client.has(name)) return false
    this.#client.set(name, value)
    return true
  }

  /** All of them; no client's stands in place of one of ours. */
  with(ours: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
    return { ...Object.fromEntries(this.#client), ...ours }
  }
}
