// The client's side of the handshake bench. Arguments: `full`, `x25519` (full, without the hybrid group) or `resumed`, port, folder of the certificates, how many at once, how
// many in all. Each connection waits for the server's first byte or its close. Says seconds and handshakes; a resumption that did
// not happen is an error.

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import tls from 'node:tls'

import { ALPN, CLUSTER, readPaths } from './handshake-files.ts'

const [kind = 'full', port = '', folder = '', parallel = '', total = ''] = process.argv.slice(2)
const paths = readPaths(folder)
const secureContext = tls.createSecureContext({
  cert: readFileSync(paths.client, 'utf8'),
  key: readFileSync(paths.clientKey, 'utf8'),
  minVersion: 'TLSv1.3',
  ...(kind === 'x25519' ? { ecdhCurve: 'X25519' } : {}),
})

function dial(session?: Buffer): tls.TLSSocket {
  const socket = tls.connect({
    port: Number(port),
    host: '127.0.0.1',
    servername: `t.orders.db.${CLUSTER}`,
    ALPNProtocols: [ALPN],
    secureContext,
    rejectUnauthorized: false,
    ...(session === undefined ? {} : { session }),
  })
  socket.setNoDelay(true)
  return socket
}

async function ticket(): Promise<Buffer> {
  const socket = dial()
  socket.resume()
  const { promise, resolve, reject } = Promise.withResolvers<Buffer>()
  socket.once('session', resolve)
  socket.on('error', reject)
  const session = await promise
  socket.destroy()
  return session
}

async function handshakes(count: number, session: Buffer | undefined): Promise<void> {
  for (let i = 0; i < count; i++) {
    const socket = dial(session)
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    socket.once('data', resolve)
    // A server without a word of its own closes when its side of the handshake is done.
    socket.once('end', resolve)
    socket.once('error', reject)
    await promise
    if (session !== undefined && !socket.isSessionReused()) throw new Error('not resumed')
    socket.end()
    if (!socket.destroyed) await once(socket, 'close')
  }
}

const session = kind === 'resumed' ? await ticket() : undefined
const share = Math.ceil(Number(total) / Number(parallel))
const startedMs = performance.now()
await Promise.all(Array.from({ length: Number(parallel) }, () => handshakes(share, session)))
process.send?.([(performance.now() - startedMs) / 1000, share * Number(parallel)])
