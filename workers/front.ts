// The HTTP front: what a browser sees on the public port. Serves the built pages and passes a short list of API paths on to
// control. It holds no state and no right: machines and command lines never come here (they speak to control end to end).

import http from 'node:http'
import type { TLSSocket } from 'node:tls'

import type { Logger } from '../core/log.ts'
import { max } from '../core/limits.ts'

/** A page as built: media type and bytes. */
export interface Page {
  readonly type: string
  readonly body: Uint8Array
}

export interface ApiReply {
  readonly status: number
  readonly body: string
}

export interface FrontOptions {
  /** Pages by exact path; a path ending in `/*` answers for everything below it. */
  readonly pages: ReadonlyMap<string, Page>
  /** Methods and path patterns that may be passed on to control without a certificate. */
  readonly gateway: readonly { readonly method: string; readonly path: RegExp }[]
  /** `https://host:port` as browsers see it; changes must come from exactly this origin. */
  readonly origin: string
  call(method: string, path: string, body: string): Promise<ApiReply>
  readonly log: Logger
}

const HEADERS: Readonly<Record<string, string>> = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'strict-transport-security': 'max-age=31536000',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cache-control': 'no-store',
}

export class Front {
  readonly #options: FrontOptions
  readonly #server: http.Server

  constructor(options: FrontOptions) {
    this.#options = options
    this.#server = http.createServer(
      { maxHeaderSize: 16_384, requireHostHeader: true },
      (request, response) => {
        this.#serve(request, response).catch((error: unknown) => this.#failed(response, error))
      },
    )
    this.#server.headersTimeout = max('handshakeDeadlineMs')
    this.#server.requestTimeout = max('apiDeadlineMs')
    this.#server.keepAliveTimeout = max('handshakeDeadlineMs')
    this.#server.maxRequestsPerSocket = 1000
    this.#server.on('clientError', (_error, socket) => socket.destroy())
  }

  /** Takes over one connection whose TLS has ended here. */
  accept(socket: TLSSocket): void {
    this.#server.emit('connection', socket)
  }

  close(): void {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  async #serve(request: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const method = request.method ?? ''
    const path = (request.url ?? '').split('?', 1)[0] ?? ''
    if (path.startsWith('/v1/')) return await this.#pass(request, response, method, path)
    const page = method === 'GET' || method === 'HEAD' ? this.#page(path) : undefined
    if (page === undefined) return reply(response, 404, 'text/plain', 'There is no such page.\n')
    return reply(response, 200, page.type, method === 'HEAD' ? '' : page.body)
  }

  #page(path: string): Page | undefined {
    const exact = this.#options.pages.get(path)
    if (exact !== undefined) return exact
    const slash = path.lastIndexOf('/')
    return this.#options.pages.get(`${path.slice(0, slash)}/*`)
  }

  async #pass(
    request: http.IncomingMessage,
    response: http.ServerResponse,
    method: string,
    path: string,
  ): Promise<void> {
    const known = this.#options.gateway.some((row) => row.method === method && row.path.test(path))
    if (!known)
      return replyError(response, 404, 'resource.not-found', 'The browser front has no such route.')
    if (method !== 'GET' && !this.#sameSite(request))
      return replyError(
        response,
        403,
        'policy.denied',
        'Changes must come from the cluster’s own pages, as application/json.',
      )
    const body = method === 'GET' ? '' : await readBody(request)
    if (body === undefined)
      return replyError(response, 413, 'limit.exceeded', 'The request body is too large.')
    const answer = await this.#options.call(method, path, body)
    return reply(response, answer.status, 'application/json', answer.body)
  }

  /** Exact origin and JSON only: a form on another site can send neither. */
  #sameSite(request: http.IncomingMessage): boolean {
    return (
      request.headers.origin === this.#options.origin &&
      /^application\/json(;|$)/.test(request.headers['content-type'] ?? '')
    )
  }

  #failed(response: http.ServerResponse, error: unknown): void {
    this.#options.log.warn('front request failed', { error: String(error) })
    if (response.headersSent) response.destroy()
    else
      replyError(
        response,
        503,
        'control.unavailable',
        'The cluster’s control cannot be reached now; try again.',
      )
  }
}

async function readBody(request: http.IncomingMessage): Promise<string | undefined> {
  const chunks: Buffer[] = []
  let size = 0
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > max('apiBodyBytesMax')) return undefined
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString('utf8')
}

function replyError(
  response: http.ServerResponse,
  status: number,
  code: string,
  message: string,
): void {
  reply(response, status, 'application/json', JSON.stringify({ error: { code, message } }))
}

function reply(
  response: http.ServerResponse,
  status: number,
  type: string,
  body: string | Uint8Array,
): void {
  response.writeHead(status, { ...HEADERS, 'content-type': `${type}; charset=utf-8` })
  response.end(body)
}
