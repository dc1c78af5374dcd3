// How our programs reach control: straight to its port, or through a proxy's public port (the TLS inside, ALPN
// `sluice-control`, is relayed unread). Gives a connected stream and nothing more: control/api/client.ts proves the other end.
// HTTP CONNECT proxies on the way are honoured (HTTPS_PROXY, NO_PROXY).

import net from 'node:net'
import type { Duplex } from 'node:stream'

import { ProxyError } from '../core/errors.ts'
import { splitAddress } from './supervisor/listeners.ts'

export type Connect = (signal: AbortSignal) => Promise<Duplex>

const CONNECT_MS = 10_000

/** Connects to the first address that answers. */
export function connectTo(
  addresses: () => readonly string[],
  what: 'the proxy' | 'control' = 'the proxy',
): Connect {
  return async (signal) => {
    const list = addresses()
    let failure = new ProxyError('dial.failed', `no address of ${what} is known`)
    for (const address of list) {
      try {
        return await connectOne(address, signal)
      } catch (error) {
        failure = unreachable(what, address, error)
      }
      if (signal.aborted) break
    }
    throw failure
  }
}

function unreachable(what: string, address: string, cause: unknown): ProxyError {
  const reason = cause instanceof Error ? cause.message : String(cause)
  return new ProxyError('dial.failed', `${what} at ${address} cannot be reached: ${reason}`, {
    retry: true,
    cause,
    next: 'Check the address and the network between; `curl -k https://ADDRESS/` tells whether anything answers there.',
  })
}

async function connectOne(address: string, signal: AbortSignal): Promise<Duplex> {
  const { host, port } = splitAddress(address)
  const via = httpProxyFor(host)
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(CONNECT_MS)])
  // A signal that is aborted already tells nobody who listens later.
  deadline.throwIfAborted()
  const socket =
    via === undefined
      ? await dial(host, port, deadline)
      : await tunnel(via, `${host}:${port}`, deadline)
  // The owner listens for errors from now on; one in between must not end the process.
  socket.on('error', () => {})
  return socket
}

function dial(host: string, port: number, signal: AbortSignal): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, noDelay: true, keepAlive: true })
    const give = (error: Error): void => {
      socket.destroy()
      reject(error)
    }
    const aborted = (): void => give(new Error('no answer in time'))
    signal.addEventListener('abort', aborted, { once: true })
    socket.once('error', give)
    socket.once('connect', () => {
      signal.removeEventListener('abort', aborted)
      socket.removeListener('error', give)
      resolve(socket)
    })
  })
}

/** One CONNECT through an HTTP proxy. Loaded only then: node:http is a fifth of what `tsh proxy ssh` would cost. */
async function tunnel(via: URL, target: string, signal: AbortSignal): Promise<Duplex> {
  const http = await import('node:http')
  return await new Promise((resolve, reject) => {
    const request = http.request({
      host: via.hostname,
      port: via.port === '' ? 80 : via.port,
      method: 'CONNECT',
      path: target,
      headers: { host: target, ...credentials(via) },
      signal,
    })
    request.once('error', reject)
    request.once('connect', (response, socket, head) => {
      if (response.statusCode !== 200) {
        socket.destroy()
        reject(new Error(`the HTTP proxy ${via.host} answered ${response.statusCode}`))
        return
      }
      if (head.length > 0) socket.unshift(head)
      resolve(socket)
    })
    request.end()
  })
}

function credentials(via: URL): Readonly<Record<string, string>> {
  if (via.username === '') return {}
  const pair = `${decodeURIComponent(via.username)}:${decodeURIComponent(via.password)}`
  return { 'proxy-authorization': `Basic ${Buffer.from(pair).toString('base64')}` }
}

/** The HTTP proxy the environment names for this host; undefined for direct connections. */
export function httpProxyFor(host: string, env: NodeJS.ProcessEnv = process.env): URL | undefined {
  const named = env['HTTPS_PROXY'] ?? env['https_proxy']
  if (named === undefined || named === '' || loopback(host) || excluded(host, env)) return undefined
  const text = named.includes('://') ? named : `http://${named}`
  return URL.canParse(text) ? new URL(text) : undefined
}

function loopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || host.startsWith('127.')
}

function excluded(host: string, env: NodeJS.ProcessEnv): boolean {
  const list = (env['NO_PROXY'] ?? env['no_proxy'] ?? '')
    .split(',')
    .map((entry) => entry.trim().replace(/^\*?\./, ''))
  return list.some(
    (entry) => entry === '*' || (entry !== '' && (host === entry || host.endsWith(`.${entry}`))),
  )
}
