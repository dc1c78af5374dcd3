// One program that runs, and the channel it runs for: bytes both ways until its output ends, then its exit. Whichever side goes first,
// the other is told, and the account of it is closed once.

import { ProxyError } from '../../core/errors.ts'
import type { Exit, Program } from '../../core/ssh/machine.ts'
import { feed, pour } from './pump.ts'
import { forbidden, onStderr, reasonOf } from './refusal.ts'
import type { Served } from './served.ts'
import type { Account } from './telling.ts'
import type { SshChannel } from './transport/channel.ts'

type Left = { readonly by: 'program' } | { readonly by: 'client' }

export class Carried {
  readonly #channel: SshChannel
  readonly #program: Program
  readonly #account: Account
  readonly #served: Served
  readonly #resolveOver: () => void
  /** Resolves when the account is closed. */
  readonly over: Promise<void>
  #fromClientBytes = 0
  #fromTargetBytes = 0
  #evicted: string | undefined

  constructor(channel: SshChannel, program: Program, account: Account, served: Served) {
    this.#channel = channel
    this.#program = program
    this.#account = account
    this.#served = served
    const { promise, resolve } = Promise.withResolvers<void>()
    this.over = promise
    this.#resolveOver = resolve
  }

  /** The session ends from outside; the sentence is why. */
  evict(sentence: string): void {
    this.#evicted ??= sentence
    this.#program.end()
  }

  /** The client was told that it runs. */
  begin(): void {
    void this.#run()
  }

  async #run(): Promise<void> {
    const gone: Promise<Left> = this.#channel.closed.then(() => ({ by: 'client' }))
    let error: string | undefined
    let exit: Exit | undefined
    let left: Left = { by: 'client' }
    try {
      left = await Promise.race([this.#bytes(), gone])
      exit = await Promise.race([this.#program.exit, gone.then(() => undefined)])
    } catch (failure) {
      // A client that left is no error, though what was written for it then fails.
      if (!this.#channel.over) error = reasonOf(failure)
      if (error !== undefined) this.#channel.farewell(onStderr(forbidden(error)))
    }
    this.#program.end()
    await this.#close(exit, error, left)
    this.#abandon()
    this.#resolveOver()
  }

  async #close(exit: Exit | undefined, error: string | undefined, left: Left): Promise<void> {
    const gone = left.by === 'client' ? 'the client left' : undefined
    const closing = this.#account.over({
      exit,
      error: this.#evicted ?? error ?? gone,
      reason: this.#evicted ?? gone ?? 'the program ended',
      fromClientBytes: this.#fromClientBytes,
      fromTargetBytes: this.#fromTargetBytes,
    })
    // Behind the audit log, so that whoever sees a command end finds it there.
    await this.#served.ssh.auditRoom()
    if (exit === undefined) this.#channel.close()
    else await this.#channel.finish(exit)
    await closing
  }

  /** What still holds the streams (a child in the background) loses them. */
  #abandon(): void {
    const cause = new ProxyError('protocol.violation', 'The SSH channel is over.')
    this.#program.io.abort(cause)
    this.#program.stderr?.abort(cause)
  }

  /** Resolves at the end of the program's output; rejects when bytes may not pass, in either direction. */
  async #bytes(): Promise<Left> {
    const { io, stderr } = this.#program
    const { promise: fault, reject } = Promise.withResolvers<never>()
    const output = [pour(io, this.#channel, (bytes) => this.#down(bytes))]
    if (stderr !== undefined)
      output.push(pour(stderr, this.#channel, (bytes) => this.#aside(bytes), true))
    void feed(this.#channel, io, (bytes) => this.#up(bytes)).catch(reject)
    await Promise.race([Promise.all(output), fault])
    return { by: 'program' }
  }

  #up(bytes: Uint8Array): Promise<void> | undefined {
    this.#fromClientBytes += bytes.length
    this.#served.host.active()
    return this.#account.fromClient(bytes)
  }

  #down(bytes: Uint8Array): Promise<void> | undefined {
    this.#aside(bytes)
    return this.#account.fromProgram(bytes)
  }

  #aside(bytes: Uint8Array): undefined {
    this.#fromTargetBytes += bytes.length
    this.#served.host.active()
    return undefined
  }
}
