// Waits for programs that cannot say themselves that they listen.

import { once } from 'node:events'
import net from 'node:net'

/** Resolves when somebody listens on a loopback port. */
export async function connectable(port: number): Promise<void> {
  for (let tries = 0; tries < 100; tries++) {
    const socket = net.connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50))
    } finally {
      socket.destroy()
    }
  }
  throw new Error(`nobody listens on ${port}`)
}
