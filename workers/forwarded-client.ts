// A proxy that ends the client's TLS, as the agent meets it on a spare opened in terminate mode: mutual TLS with that proxy and no
// other, then the preface that says for whom it speaks. The person's certificate is only fetched here: who it makes somebody is
// said by identify-user.ts and core/login.ts. Nothing of the client's protocol is read.

import type net from 'node:net'
import type tls from 'node:tls'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Snapshot } from '../core/snapshot.ts'
import { type Forward, readForward } from '../core/tunnel/forward.ts'
import { admitHost } from './host-peer.ts'
import type { TlsServer } from './tls.ts'

export interface ForwardedClient extends Forward {
  /** Behind the preface: the client's own bytes as the proxy passes them on. */
  readonly socket: tls.TLSSocket
}

export interface ForwardedBy {
  /** The proxy whose link ordered the spare: another one has no business on it. */
  readonly proxyId: string
  /** What the frame says the proxy will ask for. */
  readonly serverName: string
  readonly snapshot: Snapshot
  readonly nowMs: number
  /** From the end of the handshake to the end of the preface. */
  readonly deadlineMs?: number
}

/** Rejects with a ProxyError, the connection gone, when the proxy is not that proxy or says no preface in time. */
export async function acceptForwarded(
  server: TlsServer,
  raw: net.Socket,
  first: Uint8Array,
  by: ForwardedBy,
): Promise<ForwardedClient> {
  const { socket, chain, authorized } = await server.accept(raw, first, by)
  const admission = admitHost(chain, { role: 'proxy', purpose: 'client' }, by.snapshot, by.nowMs)
  const wrong = admission.ok
    ? wrongProxy(authorized, admission.identity.id, by.proxyId)
    : admission.reason
  if (wrong !== undefined) {
    socket.destroy()
    throw new ProxyError('trust.unproven', `The proxy is refused: ${wrong}`, { side: 'client' })
  }
  return await readPreface(socket, by.deadlineMs ?? max('handshakeDeadlineMs'))
}

function wrongProxy(authorized: boolean, id: string, expected: string): string | undefined {
  if (!authorized) return 'its certificate was not accepted'
  return id === expected ? undefined : 'it is not the proxy that ordered this spare'
}

function readPreface(socket: tls.TLSSocket, deadlineMs: number): Promise<ForwardedClient> {
  const { promise, resolve, reject } = Promise.withResolvers<ForwardedClient>()
  let held: Uint8Array = new Uint8Array(0)
  const leave = (): void => {
    clearTimeout(deadline)
    socket.off('data', look)
    socket.off('end', gone)
    socket.off('close', gone)
    socket.off('error', gone)
    socket.pause()
    // Its next owner listens from the next turn on.
    socket.on('error', () => {})
  }
  const fail = (detail: string): void => {
    leave()
    socket.destroy()
    const text = `The proxy did not say for whom it opens the session: ${detail}.`
    reject(new ProxyError('protocol.violation', text, { side: 'client' }))
  }
  const gone = (): void => fail('it ended the connection')
  const look = (chunk: Buffer): void => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    const reading = readForward(held)
    if (reading.verdict === 'more') return
    if (reading.verdict === 'bad') return fail(reading.code)
    const { certificate, permit } = reading.frame
    const rest = held.subarray(reading.end)
    leave()
    if (rest.length > 0) socket.unshift(rest)
    // Copies: they outlive the chunk for as long as the session.
    resolve({ socket, certificate: Uint8Array.from(certificate), permit: Uint8Array.from(permit) })
  }
  const deadline = setTimeout(() => fail('nothing came in time'), deadlineMs)
  socket.on('data', look)
  socket.on('end', gone)
  socket.on('close', gone)
  socket.on('error', gone)
  return promise
}
