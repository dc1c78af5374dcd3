// Runs one piece of work after pokes: never twice at once, once more when it was poked meanwhile, after a moment in which more
// pokes may come. A failure is told and tried again at the next poke, or after a pause.

const RETRY_MS = 1000

export class Coalescer {
  readonly #work: () => Promise<void>
  readonly #gatherMs: number
  readonly #failed: (error: unknown) => void
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined
  #again = false
  #closed = false

  constructor(work: () => Promise<void>, gatherMs: number, failed: (error: unknown) => void) {
    this.#work = work
    this.#gatherMs = gatherMs
    this.#failed = failed
  }

  poke(): void {
    if (this.#closed) return
    this.#again = true
    if (this.#running !== undefined || this.#timer !== undefined) return
    if (this.#gatherMs === 0) this.#run()
    else this.#later(this.#gatherMs)
  }

  /** Resolves when nothing is pending. */
  async idle(): Promise<void> {
    while (this.#running !== undefined) await this.#running
  }

  async close(): Promise<void> {
    this.#closed = true
    clearTimeout(this.#timer)
    await this.idle()
  }

  #run(): void {
    this.#running = this.#loop().finally(() => {
      this.#running = undefined
    })
  }

  async #loop(): Promise<void> {
    while (this.#again && !this.#closed) {
      this.#again = false
      try {
        await this.#work()
      } catch (error) {
        this.#failed(error)
        this.#again = true
        return this.#later(RETRY_MS)
      }
    }
  }

  #later(ms: number): void {
    if (this.#closed) return
    this.#timer = setTimeout(() => {
      this.#timer = undefined
      this.#run()
    }, ms)
  }
}
