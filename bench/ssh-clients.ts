// Clients of SSH in one process, each a connection of its own with one program that runs and says nothing. Arguments: a file
// (ssh-wanted.ts), the port, how many. Says how many once all of them run, and holds them until it is ended.

import { once } from 'node:events'
import net from 'node:net'

import { connectSsh } from '../protocols/ssh/transport/connect.ts'
import { certificateKey } from '../protocols/ssh/transport/host-key.ts'
import { socketStream } from '../workers/socket-stream.ts'
import { systemTimers } from '../workers/timers.ts'
import { pairOf, readWanted } from './ssh-wanted.ts'

const [, , file = '', port = '', count = ''] = process.argv
const { login, user } = readWanted(file)
const pair = pairOf(user)
const key = certificateKey(pair.certificate, pair.key)

async function client(): Promise<void> {
  const socket = net.connect({ port: Number(port), host: '127.0.0.1', allowHalfOpen: true })
  await once(socket, 'connect')
  const { connection } = await connectSsh({
    stream: socketStream(socket),
    timers: systemTimers,
    user: login,
    key,
    verifyHost: () => undefined,
  })
  const channel = await connection.open({ kind: 'session' })
  const command = Buffer.from('exec tail -f /dev/null')
  if (!(await channel.request({ kind: 'exec', command }))) throw new Error('it does not run')
}

// A bench that dies leaves no part of it behind.
process.on('disconnect', () => process.exit())
for (let i = 0; i < Number(count); i++) await client()
process.send?.([Number(count)])
