// A small file that a role keeps current: written whole and durable at once, and when the disk does not take it, again each second
// until it does. What it holds is in force meanwhile: a lock that cannot be written down must still lock. Never throws.

import type { Logger } from '../../core/log.ts'
import { max } from '../../core/limits.ts'
import { readText, writeWhole } from '../profile.ts'

export class KeptFile {
  readonly #file: string
  readonly #log: Logger
  #waiting: string | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(file: string, log: Logger) {
    this.#file = file
    this.#log = log
  }

  /** What is on disk; undefined when there is none. */
  read(): string | undefined {
    return readText(this.#file)
  }

  write(text: string): void {
    const first = this.#waiting === undefined
    this.#waiting = text
    this.#try(first)
  }

  /** A last attempt; what still cannot be written is lost with the process. */
  close(): void {
    if (this.#waiting !== undefined) this.#try(false)
    clearTimeout(this.#timer)
    this.#timer = undefined
  }

  #try(first: boolean): void {
    const text = this.#waiting
    if (text === undefined) return
    clearTimeout(this.#timer)
    const file = this.#file
    try {
      writeWhole(file, text)
      this.#waiting = undefined
      if (!first) this.#log.info('a file is kept again', { file })
    } catch (error) {
      if (first)
        this.#log.error(
          'a file could not be written; what it should hold is in force all the same',
          {
            file,
            error: String(error),
          },
        )
      this.#timer = setTimeout(() => this.#try(false), max('keptFileRetryMs'))
      this.#timer.unref()
    }
  }
}
