// The agent's side of the spare bench: the real module dials and holds them. Arguments: port, how many to warm up with, how many
// more. Says its resident bytes between the two when all of them were dialled.

import { once } from 'node:events'
import net from 'node:net'

import { systemClock } from '../core/clock.ts'
import { silentLogger } from '../core/log.ts'
import { LinkSpares } from '../workers/link-spares.ts'
import { systemTimers } from '../workers/timers.ts'

const PER_LINK = 50
const [port = '', warm = '', count = ''] = process.argv.slice(2)
const preface = Buffer.alloc(120, 'p')
const sockets: net.Socket[] = []
const connect = (): net.Socket => {
  const socket = net.connect(Number(port), '127.0.0.1')
  sockets.push(socket)
  return socket
}

async function dial(made: number): Promise<void> {
  const spares = new LinkSpares({
    proxyId: 'proxy',
    key: new Uint8Array(32),
    clock: systemClock,
    timers: systemTimers,
    log: silentLogger,
    connect,
    opened: () => {},
  })
  const orders = Array.from({ length: PER_LINK }, (_, i) => ({
    spareId: `spare-${made + i}`,
    preface,
  }))
  spares.dial(orders)
  await Promise.all(sockets.splice(0).map((socket) => once(socket, 'connect')))
}

let made = 0
for (; made < Number(warm); made += PER_LINK) await dial(made)
const between = process.memoryUsage.rss()
for (; made < Number(warm) + Number(count); made += PER_LINK) await dial(made)
process.send?.([between])
