// Control's end of the signer's socket: numbers requests, waits for their answers, dials again when the signer was restarted.
// Bounded in what is under way and in how long an answer may take. A request that was sent when the connection broke is not
// sent again: the certificate may exist, and the caller decides.

import { connect, type Socket } from 'node:net'

import { ProxyError } from '../../core/errors.ts'
import { type LimitName, max } from '../../core/limits.ts'
import type { SignerApi } from './api.ts'
import { LineReader } from './lines.ts'
import {
  type Carrier,
  decodeAnswer,
  encodeRequest,
  type SignerAnswer,
  signerApi,
  type SignerRequest,
} from './protocol.ts'

export type SignerClient = SignerApi

export interface SignerClientOptions {
  /** From asking to the answer, reconnecting included. */
  readonly deadlineMs?: number
}

/** Dials when first asked. A signer that is away shows as `signer.unavailable` after the deadline. */
export function connectSigner(socketPath: string, options: SignerClientOptions = {}): SignerClient {
  return signerApi(new SocketCarrier(socketPath, options.deadlineMs ?? max('signerDeadlineMs')))
}

interface Waiting {
  readonly line: string
  /** False until the line was given to a socket. */
  sent: boolean
  readonly resolve: (answer: SignerAnswer) => void
  readonly reject: (error: Error) => void
  readonly timer: NodeJS.Timeout
}

type State =
  | { readonly phase: 'idle' }
  | { readonly phase: 'dialling'; readonly socket: Socket }
  | { readonly phase: 'pause'; readonly timer: NodeJS.Timeout }
  | { readonly phase: 'open'; readonly socket: Socket }
  | { readonly phase: 'closed' }

class SocketCarrier implements Carrier {
  readonly #socketPath: string
  readonly #deadlineMs: number
  readonly #waiting = new Map<number, Waiting>()
  #state: State = { phase: 'idle' }
  #lastId = 0

  constructor(socketPath: string, deadlineMs: number) {
    this.#socketPath = socketPath
    this.#deadlineMs = deadlineMs
  }

  ask(request: SignerRequest): Promise<SignerAnswer> {
    if (this.#state.phase === 'closed') return Promise.reject(unavailable('is closed'))
    if (this.#waiting.size >= max('signerPendingMax'))
      return Promise.reject(exceeded('signerPendingMax', true))
    const id = ++this.#lastId
    const line = encodeRequest(id, request)
    // Sent, it would only make the signer hang up, and fail what others wait for.
    if (line.length > max('signerFrameBytesMax'))
      return Promise.reject(exceeded('signerFrameBytesMax', false))
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => this.#fail(id, unavailable('does not answer')),
        this.#deadlineMs,
      )
      this.#waiting.set(id, { line, sent: false, resolve, reject, timer })
      this.#send()
    })
  }

  close(): Promise<void> {
    const state = this.#state
    this.#state = { phase: 'closed' }
    if (state.phase === 'pause') clearTimeout(state.timer)
    if (state.phase === 'dialling' || state.phase === 'open') state.socket.destroy()
    for (const id of this.#waiting.keys()) this.#fail(id, unavailable('is closed'))
    return Promise.resolve()
  }

  /** Writes what waits, or sees to it that there will be a socket to write to. */
  #send(): void {
    if (this.#state.phase === 'idle') this.#dial()
    if (this.#state.phase !== 'open') return
    for (const waiting of this.#waiting.values()) {
      if (waiting.sent) continue
      waiting.sent = true
      this.#state.socket.write(waiting.line)
    }
  }

  #dial(): void {
    const socket = connect(this.#socketPath)
    const lines = new LineReader('signerAnswerBytesMax')
    this.#state = { phase: 'dialling', socket }
    socket.once('connect', () => {
      if (this.#state.phase !== 'dialling') return
      this.#state = { phase: 'open', socket }
      this.#send()
    })
    socket.on('data', (chunk: Buffer) => {
      try {
        for (const line of lines.push(chunk)) this.#heard(line)
      } catch {
        // An answer that cannot be read leaves nothing to go on with.
        socket.destroy()
      }
    })
    socket.on('error', () => {})
    socket.once('close', () => this.#lost())
  }

  #heard(line: string): void {
    const decoded = decodeAnswer(line)
    const waiting = this.#take(decoded.id)
    if ('error' in decoded) waiting?.reject(decoded.error)
    else waiting?.resolve(decoded.answer)
  }

  /** What was sent has failed; what was not waits for the next socket, until its deadline. */
  #lost(): void {
    if (this.#state.phase === 'closed') return
    for (const [id, waiting] of this.#waiting)
      if (waiting.sent) this.#fail(id, unavailable('went away before it answered'))
    const timer = setTimeout(() => {
      this.#state = { phase: 'idle' }
      if (this.#waiting.size > 0) this.#send()
    }, max('signerRedialMs'))
    this.#state = { phase: 'pause', timer }
  }

  #fail(id: number, error: ProxyError): void {
    this.#take(id)?.reject(error)
  }

  #take(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id)
    if (waiting !== undefined) clearTimeout(waiting.timer)
    this.#waiting.delete(id)
    return waiting
  }
}

function exceeded(name: LimitName, retry: boolean): ProxyError {
  return new ProxyError('limit.exceeded', `The request to the signer is over ${name}.`, { retry })
}

function unavailable(how: string): ProxyError {
  return new ProxyError('signer.unavailable', `The signer ${how}.`, {
    retry: true,
    next: 'Look at the log of the signer process.',
  })
}
