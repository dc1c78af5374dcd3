// The socket that a login's programs take for an ssh-agent, in a folder only the login may enter, as sshd makes it.

import { mkdtemp, rm } from 'node:fs/promises'
import os from 'node:os'
import path from 'node:path'
import process from 'node:process'

import { closeServer, listenOn, newServer, type Opened } from './opened.ts'

export async function openAgentSocket(): Promise<Opened> {
  const folder = await mkdtemp(path.join(os.tmpdir(), 'ssh-'))
  const file = path.join(folder, `agent.${process.pid}`)
  const server = newServer()
  const remove = async (): Promise<void> => {
    closeServer(server)
    await rm(folder, { recursive: true, force: true })
  }
  try {
    await listenOn(server, { path: file })
  } catch (error) {
    await remove()
    throw error
  }
  return { server, port: 0, path: file, display: '', remove }
}
