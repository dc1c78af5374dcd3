// Quiet clients of the idle bench: connect, send 100 bytes and get them back, stay. Arguments: port, how many. Says how many.

import { once } from 'node:events'
import net from 'node:net'

const AT_ONCE = 20
const [port = '', count = ''] = process.argv.slice(2)
const PING = Buffer.alloc(100, 'p')
const open: net.Socket[] = []

async function connect(): Promise<void> {
  const socket = net.connect(Number(port), '127.0.0.1')
  socket.write(PING)
  await once(socket, 'data')
  open.push(socket)
}

async function some(): Promise<void> {
  for (let i = 0; i < Number(count) / AT_ONCE; i++) await connect()
}

await Promise.all(Array.from({ length: AT_ONCE }, some))
process.send?.([open.length])
