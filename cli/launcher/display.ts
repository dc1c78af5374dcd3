// A display for the login's programs: a port on the loopback counted from 6010, as sshd counts, and the cookie in the login's
// Xauthority, which xauth writes. The cookie goes through its input: arguments can be read by everybody.

import { spawn } from 'node:child_process'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { HelperRequest } from '../../workers/launch-wire.ts'
import { closeServer, listenOn, newServer, type Opened } from './opened.ts'

const XAUTH = '/usr/bin/xauth'
const FIRST_PORT = 6000
const LOOPBACK = '127.0.0.1'

type DisplayRequest = Extract<HelperRequest, { kind: 'x11' }>

export async function openDisplay({ protocol, cookie, screen }: DisplayRequest): Promise<Opened> {
  const { server, number } = await freeDisplay()
  // A display on this machine is looked up under this name, whatever DISPLAY says of the host.
  const name = `unix:${number}.${screen}`
  const remove = async (): Promise<void> => {
    closeServer(server)
    // The login may have removed it already.
    await xauth(`remove ${name}\n`).catch(() => {})
  }
  try {
    await xauth(`remove ${name}\nadd ${name} ${protocol} ${cookie}\n`)
  } catch (error) {
    closeServer(server)
    throw error
  }
  const display = `localhost:${number}.${screen}`
  return { server, port: FIRST_PORT + number, path: '', display, remove }
}

async function freeDisplay(): Promise<{ server: Opened['server']; number: number }> {
  const first = max('displayOffset')
  for (let number = first; number < first + max('displaysMax'); number++) {
    const server = newServer()
    const taken = await listenOn(server, { host: LOOPBACK, port: FIRST_PORT + number }).then(
      () => false,
      () => true,
    )
    if (!taken) return { server, number }
  }
  throw new ProxyError('limit.exceeded', 'All displays of this machine are taken.')
}

function xauth(commands: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (): void =>
      reject(new ProxyError('dial.failed', 'xauth of this machine did not take the display.'))
    const child = spawn(XAUTH, ['-q', '-'], { stdio: ['pipe', 'ignore', 'ignore'] })
    child.once('error', failed)
    child.once('exit', (code) => (code === 0 ? resolve() : failed()))
    child.stdin.on('error', () => {})
    child.stdin.end(commands)
  })
}
