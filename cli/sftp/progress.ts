// The line that shows on a terminal how far a copy is: name, share, bytes, rate. Written over itself, a few times a second at most.

import type { Clock } from '../../core/clock.ts'
import { printable } from '../render.ts'

const EVERY_MS = 200
const UNITS = ['B', 'KB', 'MB', 'GB', 'TB'] as const

export class Progress {
  readonly #clock: Clock
  readonly #write: (text: string) => void
  #name = ''
  #size = 0
  #moved = 0
  #beganMs = 0
  #shownMs = 0

  constructor(clock: Clock, write: (text: string) => void) {
    this.#clock = clock
    this.#write = write
  }

  begin(name: string, size: number): void {
    this.#name = printable(name)
    this.#size = size
    this.#moved = 0
    this.#beganMs = this.#clock.monotonic()
    this.#shownMs = this.#beganMs
  }

  moved(bytes: number): void {
    this.#moved += bytes
    if (this.#clock.monotonic() - this.#shownMs < EVERY_MS) return
    this.#shownMs = this.#clock.monotonic()
    this.#write(`\r${this.#line()}`)
  }

  end(): void {
    this.#write(`\r${this.#line()}\n`)
  }

  #line(): string {
    const share =
      this.#size === 0 ? 100 : Math.min(100, Math.floor((100 * this.#moved) / this.#size))
    const seconds = Math.max(0.001, (this.#clock.monotonic() - this.#beganMs) / 1000)
    const rate = `${bytesText(this.#moved / seconds)}/s`
    const columns = [`${share}%`.padStart(4), bytesText(this.#moved).padStart(9), rate.padStart(11)]
    return `${this.#name.slice(0, 40).padEnd(40)} ${columns.join(' ')}`
  }
}

export function bytesText(bytes: number): string {
  let [value, unit] = [bytes, 0]
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024
    unit += 1
  }
  return `${unit === 0 ? Math.round(value) : value.toFixed(1)} ${UNITS[unit] ?? ''}`
}
