// How many dials per millisecond an agent sees lately: each counts fully at first and loses its weight over a window. One number
// per agent, brought up to date when it is looked at. It says nothing about when the dials came.

export class DialRate {
  readonly #windowMs: number
  #weight = 0
  #atMs = 0

  constructor(windowMs: number) {
    this.#windowMs = windowMs
  }

  note(nowMs: number): void {
    this.#fade(nowMs)
    this.#weight++
  }

  perMs(nowMs: number): number {
    this.#fade(nowMs)
    return this.#weight / this.#windowMs
  }

  // With a constant rate r the weight settles at r × window: what comes in equals what fades.
  #fade(nowMs: number): void {
    this.#weight *= Math.exp(-(nowMs - this.#atMs) / this.#windowMs)
    this.#atMs = nowMs
  }
}
