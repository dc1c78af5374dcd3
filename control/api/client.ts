// The typed client of control's API, for command lines, agents and proxies: `call` for one answer, `stream` for NDJSON. Knows
// the routes from schema.ts, trusts as trust.ts says, checks every answer. Never retries by itself: a caller knows whether it may.

import http from 'node:http'
import type { Duplex } from 'node:stream'

import { systemClock } from '../../core/clock.ts'
import type { Clock } from '../../core/clock.ts'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { CallName, Calls, Reply, Request } from './calls.ts'
import { apiErrorSchema } from './checks.ts'
import { type ClientIdentity, type SecureOptions, secureControl } from './connection.ts'
import { readLines, readText } from './lines.ts'
import { ROUTES } from './schema.ts'
import type { ControlTrust } from './trust.ts'

export interface CallOptions {
  readonly signal?: AbortSignal
  /** The body of a call that takes lines, as it is: what was written once is not read to be written again. */
  readonly lines?: Uint8Array
}

/** Calls that answer with NDJSON. */
export type StreamName = 'watch' | 'audit-export' | 'recording-read'

export interface ControlClient {
  /** One answer. Throws the ProxyError control answered with, or `control.unavailable`. */
  call<N extends Exclude<CallName, StreamName>>(
    name: N,
    request: Request<N>,
    options?: CallOptions,
  ): Promise<Reply<N>>
  /** Items as they come; ends when control ends the stream. */
  stream<N extends StreamName>(
    name: N,
    request: Request<N>,
    options?: CallOptions,
  ): AsyncGenerator<Reply<N>, undefined>
  /** Drops idle connections, so that the next call uses a new certificate or address. */
  reset(): void
  close(): void
}

export interface ClientOptions {
  readonly connect: (signal: AbortSignal) => Promise<Duplex>
  readonly trust: ControlTrust | (() => ControlTrust)
  readonly identity?: ClientIdentity | (() => ClientIdentity | undefined)
  readonly clock?: Clock
}

/** A client over TLS, end to end with control. */
export function connectControl(options: ClientOptions): ControlClient {
  const { trust, identity, clock = systemClock } = options
  const secure: SecureOptions = {
    connect: options.connect,
    clock,
    trust: typeof trust === 'function' ? trust : () => trust,
    ...(identity === undefined
      ? {}
      : { identity: typeof identity === 'function' ? identity : () => identity }),
  }
  return new HttpClient(() => new ControlAgent(() => secureControl(secure)))
}

/** A client over control's own unix socket: the local super-administrator. */
export function connectLocalControl(socketPath: string): ControlClient {
  return new HttpClient(() => new http.Agent({ keepAlive: true }), socketPath)
}

/** Hands Node's HTTP client connections that were verified before. */
class ControlAgent extends http.Agent {
  readonly #open: () => Promise<Duplex>

  constructor(open: () => Promise<Duplex>) {
    super({ keepAlive: true, maxSockets: max('apiClientSocketsMax') })
    this.#open = open
  }

  override createConnection(
    _options: http.ClientRequestArgs,
    callback?: (error: Error | null, stream: Duplex) => void,
  ): undefined {
    void this.#give(callback)
    return undefined
  }

  async #give(callback?: (error: Error | null, stream: Duplex) => void): Promise<void> {
    // Node's types forget that a failed connection has no stream.
    const answer = callback as ((error: unknown, stream?: Duplex) => void) | undefined
    try {
      answer?.(null, await this.#open())
    } catch (error) {
      answer?.(error)
    }
  }
}

class HttpClient implements ControlClient {
  readonly #make: () => http.Agent
  readonly #socketPath: string | undefined
  #agent: http.Agent

  constructor(make: () => http.Agent, socketPath?: string) {
    this.#make = make
    this.#socketPath = socketPath
    this.#agent = make()
  }

  async call<N extends Exclude<CallName, StreamName>>(
    name: N,
    request: Request<N>,
    options: CallOptions = {},
  ): Promise<Reply<N>> {
    const deadline = AbortSignal.timeout(max('apiDeadlineMs'))
    const signal =
      options.signal === undefined ? deadline : AbortSignal.any([deadline, options.signal])
    const response = await this.#send(name, request, signal, options.lines)
    const body = await readText(response, max('apiReplyBytesMax')).catch((cause: unknown) => {
      throw unavailable(cause)
    })
    return checked(name, parse(body))
  }

  async *stream<N extends StreamName>(
    name: N,
    request: Request<N>,
    options: CallOptions = {},
  ): AsyncGenerator<Reply<N>, undefined> {
    const response = await this.#send(name, request, options.signal)
    try {
      for await (const line of readLines(response, max('watchLineBytesMax')))
        yield checked(name, parse(line))
    } catch (cause) {
      if (options.signal?.aborted === true) return
      throw cause instanceof ProxyError ? cause : unavailable(cause)
    } finally {
      response.destroy()
    }
  }

  reset(): void {
    const old = this.#agent
    this.#agent = this.#make()
    // Connections in use end with their request: a retired agent keeps none.
    old.on('free', (socket: Duplex) => socket.destroy())
    for (const sockets of Object.values(old.freeSockets))
      for (const socket of sockets ?? []) socket.destroy()
  }

  close(): void {
    this.#agent.destroy()
  }

  async #send<N extends CallName>(
    name: N,
    request: Request<N>,
    signal: AbortSignal | undefined,
    lines?: Uint8Array,
  ): Promise<http.IncomingMessage> {
    const { method, path, body } = encode(name, request)
    const type = ROUTES[name].lines === true ? 'application/x-ndjson' : 'application/json'
    const ended = new AbortController()
    const response = await new Promise<http.IncomingMessage>((resolve, reject) => {
      const outgoing = http.request(
        {
          method,
          path,
          agent: this.#agent,
          host: 'control',
          ...(this.#socketPath === undefined ? {} : { socketPath: this.#socketPath }),
          ...(signal === undefined ? {} : { signal }),
          headers: body === undefined ? {} : { 'content-type': type },
        },
        resolve,
      )
      outgoing.once('error', (cause) =>
        reject(cause instanceof ProxyError ? cause : unavailable(cause)),
      )
      // A request that still waits for its connection does not hear of the signal by itself.
      signal?.addEventListener(
        'abort',
        () => {
          outgoing.destroy()
          reject(unavailable(signal.reason))
        },
        { once: true, signal: ended.signal },
      )
      outgoing.end(lines ?? body)
    }).finally(() => ended.abort())
    if (response.statusCode === 200) return response
    throw await refusalOf(response)
  }
}

/** Where a request goes: `:name` segments from its fields, the rest into the query or the JSON body. */
function encode<N extends CallName>(
  name: N,
  request: Calls[N]['request'],
): { method: string; path: string; body: string | undefined } {
  const row = ROUTES[name]
  const rest = new Map<string, unknown>(Object.entries(request))
  const path = row.path.replace(/:(\w+)/g, (_, field: string) => {
    const value = rest.get(field)
    rest.delete(field)
    return encodeURIComponent(typeof value === 'string' ? value : '')
  })
  if (row.lines === true) return { method: row.method, path, body: linesOf(rest.get('lines')) }
  if (row.method === 'POST' || row.method === 'PUT')
    return { method: row.method, path, body: JSON.stringify(Object.fromEntries(rest)) }
  const query = new URLSearchParams()
  for (const [key, value] of rest) if (value !== undefined) query.set(key, queryText(value))
  const search = query.toString()
  return { method: row.method, path: search === '' ? path : `${path}?${search}`, body: undefined }
}

function linesOf(value: unknown): string {
  return Array.isArray(value) ? value.join('\n') : ''
}

function queryText(value: unknown): string {
  return typeof value === 'string' ? value : JSON.stringify(value)
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new ProxyError('control.unavailable', 'Control sent an answer that is no JSON.', {
      cause,
    })
  }
}

function checked<N extends CallName>(name: N, value: unknown): Reply<N> {
  const result = ROUTES[name].reply.safeParse(value)
  if (result.success) return result.data
  throw new ProxyError(
    'control.unavailable',
    `Control answered ${name} in a form this version does not know.`,
    {
      detail: result.error.message,
      next: 'Use a client of the same or the previous version as the cluster.',
    },
  )
}

async function refusalOf(response: http.IncomingMessage): Promise<ProxyError> {
  const body = await readText(response, max('apiBodyBytesMax')).catch(() => '')
  const result = apiErrorSchema.safeParse(parse(body === '' ? 'null' : body))
  if (!result.success)
    return new ProxyError(
      'control.unavailable',
      `Control answered with status ${response.statusCode}.`,
    )
  const { code, message, next } = result.data.error
  const retry = response.statusCode === 503 || response.statusCode === 429
  return new ProxyError(code, message, { retry, ...(next === undefined ? {} : { next }) })
}

function unavailable(cause: unknown): ProxyError {
  return new ProxyError('control.unavailable', 'Control did not answer.', {
    retry: true,
    cause,
    next: 'Try again; if it stays away, ask the operator whether control runs.',
  })
}
