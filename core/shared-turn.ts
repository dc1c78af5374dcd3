// One piece of work that many ask for at the same time, such as a sync of one folder: whoever asks while it runs shares the next run, which
// begins after they asked. Holds at most two runs; knows nothing of what the work is.

export class SharedTurn {
  readonly #work: () => Promise<void>
  #running: Promise<void> | undefined
  #next: Promise<void> | undefined

  constructor(work: () => Promise<void>) {
    this.#work = work
  }

  /** Resolves when a run that began after this call has ended, and rejects with what that run rejects with. */
  run(): Promise<void> {
    if (this.#running === undefined) return this.#begin()
    // The run under way may have begun before what is asked for was there.
    this.#next ??= this.#running.then(
      () => this.#begin(),
      () => this.#begin(),
    )
    return this.#next
  }

  #begin(): Promise<void> {
    this.#next = undefined
    const run = this.#work().finally(() => {
      if (this.#running === run) this.#running = undefined
    })
    this.#running = run
    return run
  }
}
