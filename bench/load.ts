// The client's side of benches. Arguments: what, port, how many at once, how much in all. Says seconds and operations.
//   connections: connect, send a real ClientHello, wait for one byte, close
//   bulk: streams that send bytes as fast as they are taken, until the other side has read all of them
//   ping-pong: 100 bytes there and back, one at a time per connection

import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import net from 'node:net'

const [what = '', port = '', parallel = '', total = ''] = process.argv.slice(2)
const CHUNK = Buffer.alloc(64 * 1024, 'x')
const PING = Buffer.alloc(100, 'p')
const HELLO = Buffer.from(
  readFileSync(
    new URL('../core/vectors/hello-libpq-18-direct.txt', import.meta.url),
    'utf8',
  ).replace(/^#.*$|\s/gm, ''),
  'hex',
)

async function dial(): Promise<net.Socket> {
  const socket = net.connect({ port: Number(port), host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  return socket
}

async function connections(count: number): Promise<void> {
  for (let i = 0; i < count; i++) {
    const socket = await dial()
    socket.write(HELLO)
    await once(socket, 'data')
    socket.end()
    await once(socket, 'close')
  }
}

async function bulk(bytes: number): Promise<void> {
  const socket = await dial()
  for (let sent = 0; sent < bytes; sent += CHUNK.length)
    if (!socket.write(CHUNK)) await once(socket, 'drain')
  socket.end()
  socket.resume()
  await once(socket, 'end')
}

async function pingPong(rounds: number): Promise<void> {
  const socket = await dial()
  for (let i = 0; i < rounds; i++) {
    socket.write(PING)
    for (let got = 0; got < PING.length; ) {
      const chunk: unknown = (await once(socket, 'data'))[0]
      got += chunk instanceof Uint8Array ? chunk.length : PING.length
    }
  }
  socket.destroy()
}

const KINDS: Readonly<Record<string, (share: number) => Promise<void>>> = {
  connections,
  bulk,
  'ping-pong': pingPong,
}

const run = KINDS[what]
if (run === undefined) throw new Error(`no load "${what}"`)
// A bench that dies leaves no part of it behind.
process.on('disconnect', () => process.exit())
const share = Math.ceil(Number(total) / Number(parallel))
const startedMs = performance.now()
await Promise.all(Array.from({ length: Number(parallel) }, () => run(share)))
process.send?.([(performance.now() - startedMs) / 1000, share * Number(parallel)])
