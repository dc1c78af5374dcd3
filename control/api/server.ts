// Control's API over TLS and over its own unix socket: reads one request, lets router.ts judge it, runs the handler, answers.
// TLS 1.3 with a client certificate asked for but never demanded (rejectUnauthorized is off so that a refusal can be said);
// who somebody is comes from the DER alone. Everything is bounded: bodies, time, connections, anonymous calls.

import { randomBytes } from 'node:crypto'
import { chmodSync, rmSync } from 'node:fs'
import http from 'node:http'
import https from 'node:https'
import type { AddressInfo } from 'node:net'
import { TLSSocket } from 'node:tls'

import type { EventFields } from '../../core/audit/event.ts'
import type { Clock } from '../../core/clock.ts'
import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { begun } from './begun.ts'
import {
  type Caller,
  callerProblem,
  type CallerRefusal,
  type CallerTrust,
  readCaller,
} from './caller.ts'
import { peerChain } from './connection.ts'
import { type CallContext, callerName, type Handlers, type Source } from './handler.ts'
import { readText } from './lines.ts'
import { RateGate } from './rate.ts'
import { RefusalAudit } from './refusal-audit.ts'
import {
  authorizeCall,
  checkHandlers,
  type Match,
  matchRoute,
  readRequest,
  type Rights,
} from './router.ts'
import { describeError } from './status.ts'
import { type TlsMaterial, tlsOptions } from './tls.ts'

export interface ApiServerOptions {
  readonly handlers: Handlers
  readonly rights: Rights
  /** Asked for each connection and each request: trust changes while connections live. */
  readonly trust: () => CallerTrust
  readonly material: TlsMaterial
  /** Whether an address is that of a proxy, so that it says nothing of the client behind it. */
  readonly isProxyAddress: (address: string) => boolean
  readonly record: (name: string, code: string, fields: EventFields) => Promise<void>
  readonly clock: Clock
  readonly log: Logger
}

/** A connection and who is behind it. */
interface Connection {
  readonly source: Source
  readonly chain: readonly Uint8Array[]
  readonly local: boolean
  /** The trust `caller` was read under. */
  trust: CallerTrust | undefined
  caller: Caller | CallerRefusal
}

interface LiveStream {
  readonly caller: Caller
  readonly abort: AbortController
}

export class ApiServer {
  readonly #options: ApiServerOptions
  readonly #https: https.Server
  readonly #local: http.Server
  readonly #rate: RateGate
  readonly #refusals: RefusalAudit
  readonly #connections = new WeakMap<object, Connection>()
  readonly #streams = new Set<LiveStream>()
  readonly #draining = new AbortController()

  constructor(options: ApiServerOptions) {
    checkHandlers(options.handlers)
    this.#options = options
    this.#rate = new RateGate(options.clock)
    this.#refusals = new RefusalAudit(options)
    const settings = {
      maxHeaderSize: 16_384,
      requestTimeout: max('apiDeadlineMs'),
      insecureHTTPParser: false,
    }
    const serve = (request: http.IncomingMessage, response: http.ServerResponse): void => {
      void this.#serve(request, response)
    }
    this.#https = https.createServer({ ...settings, ...tlsOptions(options.material) }, serve)
    this.#local = http.createServer(settings, serve)
    for (const server of [this.#https, this.#local]) {
      server.headersTimeout = max('handshakeDeadlineMs')
      server.keepAliveTimeout = max('apiDeadlineMs')
      server.maxRequestsPerSocket = max('apiRequestsPerConnectionMax')
      server.maxConnections = max('apiConnectionsMax')
      server.on('clientError', (_error, socket) => socket.destroy())
    }
    this.#https.on('tlsClientError', (_error, socket) => socket.destroy())
  }

  /** Listens on an address, or on a handle the supervisor bound. Resolves with the port. */
  async listen(
    where: { readonly host: string; readonly port: number } | { readonly handle: object },
  ): Promise<number> {
    await listening(this.#https, 'handle' in where ? { _handle: where.handle } : where)
    return (this.#https.address() as AddressInfo).port
  }

  /** Control's own unix socket, 0600: whoever may open it is the super-administrator. */
  async listenLocal(path: string): Promise<void> {
    rmSync(path, { force: true })
    const before = process.umask(0o177)
    try {
      await listening(this.#local, { path })
    } finally {
      process.umask(before)
    }
    chmodSync(path, 0o600)
  }

  /** New certificates or trust: tickets made before are void. */
  setMaterial(material: TlsMaterial): void {
    this.#https.setSecureContext(tlsOptions(material))
  }

  /** Ends streams whose caller was locked, reset or has expired. Called after each change of locks, and by the clock. */
  recheck(): void {
    const { lockSet } = this.#options.trust()
    const nowMs = this.#options.clock.now()
    for (const { caller, abort } of this.#streams)
      if (callerProblem(caller, lockSet, nowMs) !== undefined) abort.abort()
  }

  get streams(): number {
    return this.#streams.size
  }

  /** Takes no new connections, ends streams, lets calls finish. */
  async close(): Promise<void> {
    this.#draining.abort()
    const ended = [this.#https, this.#local].map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    )
    for (const server of [this.#https, this.#local]) server.closeIdleConnections()
    const timer = setTimeout(() => {
      for (const server of [this.#https, this.#local]) server.closeAllConnections()
    }, max('apiDrainMs'))
    await Promise.all(ended)
    clearTimeout(timer)
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    let match: Match | undefined
    try {
      const url = URL.parse(request.url ?? '/', 'http://control')
      if (url === null)
        throw new ProxyError('resource.invalid', 'The request’s target is no path.', {
          side: 'client',
        })
      match = matchRoute(request.method ?? '', url.pathname)
      const connection = this.#connection(request)
      const caller = this.#admit(match, connection)
      authorizeCall(match, caller, this.#options.rights)
      const value = readRequest(
        match,
        url.searchParams,
        await bodyText(request, match.row.lines === true),
      )
      await this.#run(match, value, caller, connection, response)
    } catch (error) {
      this.#fail(error, match, response)
    }
  }

  #connection(request: http.IncomingMessage): Connection {
    const { socket } = request
    const known = this.#connections.get(socket)
    if (known !== undefined) return known
    const address = socket.remoteAddress ?? 'local'
    const connection: Connection = {
      source: {
        address,
        connection: randomBytes(8).toString('hex'),
        relayed: this.#options.isProxyAddress(address),
      },
      chain: socket instanceof TLSSocket ? peerChain(socket) : [],
      local: !(socket instanceof TLSSocket),
      trust: undefined,
      caller: { kind: 'anyone' },
    }
    this.#connections.set(socket, connection)
    return connection
  }

  /** The caller, judged as of now. Anonymous routes are open to refused certificates too, and rated. */
  #admit(match: Match, connection: Connection): Caller {
    const { clock } = this.#options
    if (connection.local) return { kind: 'local' }
    const trust = this.#options.trust()
    const moved =
      connection.trust?.userCas !== trust.userCas || connection.trust.hostCas !== trust.hostCas
    if (moved) connection.caller = readCaller(connection.chain, trust, clock.now())
    connection.trust = trust
    const { caller } = connection
    const problem = 'kind' in caller ? callerProblem(caller, trust.lockSet, clock.now()) : caller
    if (match.row.who === 'anyone') {
      this.#rated(connection.source)
      return problem === undefined && 'kind' in caller ? caller : { kind: 'anyone' }
    }
    if (problem !== undefined) {
      this.#refusals.note(problem, connection.source.address)
      throw new ProxyError(problem.code, problem.reason, { side: 'client' })
    }
    if (!('kind' in caller))
      throw new ProxyError('cert.chain', 'The certificate is refused.', { side: 'client' })
    return caller
  }

  #rated({ address, connection, relayed }: Source): void {
    const perMinute = max('apiAnonymousPerMinuteMax')
    const ofSource = relayed ? perMinute * max('apiRelayedFactor') : perMinute
    if (
      this.#rate.take(`c:${connection}`, perMinute / 4) &&
      this.#rate.take(`s:${address}`, ofSource)
    )
      return
    throw new ProxyError('limit.exceeded', 'Too many calls without a certificate; wait a minute.', {
      side: 'client',
      retry: true,
    })
  }

  async #run(
    match: Match,
    value: unknown,
    caller: Caller,
    connection: Connection,
    response: http.ServerResponse,
  ): Promise<void> {
    const abort = new AbortController()
    response.once('close', () => abort.abort())
    const audited = { done: false }
    const context: CallContext = {
      caller,
      source: connection.source,
      signal: AbortSignal.any([abort.signal, this.#draining.signal]),
      audit: async (name, code, fields) => {
        audited.done = true
        await this.#record(name, code, fields, caller, connection)
      },
    }
    // The table keeps each handler with the schema that checked its request.
    const handler = this.#options.handlers[match.name] as (
      request: unknown,
      context: CallContext,
    ) => unknown
    if (match.row.stream !== undefined) {
      const open = handler(value, context) as AsyncIterable<unknown>
      const items = match.row.stream === 'begun' ? await begun(open) : open
      return await this.#stream(match, items, { caller, abort }, response, context.signal)
    }
    const reply = await withDeadline(handler(value, context) as Promise<unknown>)
    const owes = typeof match.row.audit === 'string'
    if (owes && !audited.done) throw new TypeError(`${match.name} left no audit event`)
    if (caller.kind === 'local' && match.row.method !== 'GET') await this.#recordLocal(match)
    answer(response, 200, match.row.reply.parse(reply))
  }

  async #stream(
    match: Match,
    items: AsyncIterable<unknown>,
    live: LiveStream,
    response: http.ServerResponse,
    signal: AbortSignal,
  ): Promise<void> {
    this.#streams.add(live)
    try {
      response.writeHead(200, { ...HEADERS, 'content-type': 'application/x-ndjson' })
      response.flushHeaders()
      for await (const item of items) {
        if (signal.aborted) break
        if (!response.write(`${JSON.stringify(match.row.reply.parse(item))}\n`))
          await drained(response, signal)
      }
    } finally {
      this.#streams.delete(live)
      response.end()
    }
  }

  async #record(
    name: string,
    code: string,
    fields: EventFields,
    caller: Caller,
    { source }: Connection,
  ): Promise<void> {
    const who =
      caller.kind === 'user'
        ? {
            user: caller.identity.name,
            user_kind: caller.identity.kind === 'human' ? 1 : 2,
            user_roles: caller.identity.roles,
          }
        : {}
    const by = caller.kind === 'anyone' ? {} : { updated_by: callerName(caller) }
    await this.#options.record(name, code, {
      'addr.remote': source.address,
      ...who,
      ...by,
      ...fields,
    })
  }

  async #recordLocal({ row }: Match): Promise<void> {
    await this.#options.record('admin.call', 'SLC002I', {
      method: row.method,
      path: row.path,
      uid_local: process.getuid?.() ?? 0,
    })
  }

  #fail(error: unknown, match: Match | undefined, response: http.ServerResponse): void {
    const { status, body, defect } = describeError(error)
    if (defect)
      this.#options.log.error('API call failed', { call: match?.name, error: String(error) })
    if (response.headersSent) response.destroy()
    else answer(response, status, body)
  }
}

const HEADERS: Readonly<Record<string, string>> = {
  'content-type': 'application/json; charset=utf-8',
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
}

function answer(response: http.ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body)
  response.writeHead(status, { ...HEADERS, 'content-length': Buffer.byteLength(text) })
  response.end(text)
}

async function bodyText(request: http.IncomingMessage, lines: boolean): Promise<string> {
  if (request.method === 'POST' || request.method === 'PUT') {
    const type = lines ? 'application/x-ndjson' : 'application/json'
    const given = (request.headers['content-type'] ?? '').toLowerCase()
    if (given.replace(/\s*;\s*charset=utf-8$/, '') !== type)
      throw new ProxyError('resource.invalid', `The body must be ${type}.`, { side: 'client' })
  }
  if (Number(request.headers['content-length'] ?? 0) > max('apiBodyBytesMax'))
    throw new ProxyError('limit.exceeded', 'The body is longer than apiBodyBytesMax.', {
      side: 'client',
    })
  return await readText(request, max('apiBodyBytesMax'))
}

async function withDeadline<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () =>
        reject(
          new ProxyError('control.unavailable', 'Control did not finish in time.', { retry: true }),
        ),
      max('apiDeadlineMs'),
    )
  })
  try {
    return await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}

function drained(response: http.ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done)
      signal.removeEventListener('abort', done)
      resolve()
    }
    response.once('drain', done)
    signal.addEventListener('abort', done, { once: true })
  })
}

function listening(server: http.Server | https.Server, where: object): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(where, () => {
      server.off('error', reject)
      resolve()
    })
  })
}
