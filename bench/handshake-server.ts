// The process under test of the handshake bench. Argument: `ours` (the real TLS server of purpose `user`, with the certificate
// verified from its DER as the agent does it) or `bare` (Node's own tls.Server). Both demand a client certificate, say one byte,
// and close when the peer does. Certificates come as JSON in the second argument. Says its port.

import { once } from 'node:events'
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import tls from 'node:tls'

import { readPem } from '../core/cert/pem.ts'
import { verifyPeer } from '../core/cert/verify.ts'
import { TlsServer } from '../workers/tls.ts'
import { ALPN, CLUSTER, readPaths } from './handshake-files.ts'

const ANSWER = Buffer.from('!')
const [kind = 'ours', folder = ''] = process.argv.slice(2)
const paths = readPaths(folder)
const [certificate, key, ca] = [paths.server, paths.serverKey, paths.ca].map((path) =>
  readFileSync(path, 'utf8'),
)
if (certificate === undefined || key === undefined || ca === undefined) throw new Error('no files')

function answer(socket: net.Socket): void {
  socket.on('error', () => {})
  socket.on('end', () => socket.end())
  socket.resume()
  socket.write(ANSWER)
}

function ours(cert: string, own: string, clientCa: string): net.Server {
  const clientCas = readPem('CERTIFICATE', clientCa)
  const state = {
    certificate: cert,
    key: own,
    clientCas,
    trustRevision: 1,
    ticketKeys: randomBytes(48),
  }
  const server = new TlsServer({ purpose: 'user', alpn: [ALPN] }, state)
  const want = { cas: clientCas, purpose: 'client', type: 'user', cluster: CLUSTER } as const
  const accept = async (raw: net.Socket, first: Buffer): Promise<void> => {
    const { socket, chain, authorized } = await server.accept(raw, first)
    const verified = verifyPeer(chain, want, Date.now())
    if (verified.ok && authorized) answer(socket)
    else socket.destroy()
  }
  return net.createServer({ noDelay: true, allowHalfOpen: true }, (raw) => {
    raw.on('error', () => {})
    // As on the real path: the hello was read before TLS begins.
    raw.once('data', (first: Buffer) => {
      raw.pause()
      raw.removeAllListeners('data')
      accept(raw, first).catch(() => raw.destroy())
    })
  })
}

function bare(cert: string, own: string, clientCa: string): net.Server {
  const options = { cert, key: own, ca: clientCa, requestCert: true, ALPNProtocols: [ALPN] }
  const settings = { minVersion: 'TLSv1.3' as const, rejectUnauthorized: true, noDelay: true }
  return tls.createServer({ ...options, ...settings }, answer)
}

const server = kind === 'ours' ? ours(certificate, key, ca) : bare(certificate, key, ca)
server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 })
await once(server, 'listening')
const address = server.address()
process.send?.([typeof address === 'object' && address !== null ? address.port : 0])
