// The signer process: opens the keys, listens on a unix socket, answers control's requests one after the other. The folder of
// the socket decides who reaches it, so a folder that is open to everybody stops the start. Speaks on no network.

import { chmod, lstat, unlink } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import path from 'node:path'

import { errorCode, ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import { LineReader } from './lines.ts'
import { decodeRequest, encodeAnswer } from './protocol.ts'
import { openRequests, type Requests, type SignerOptions } from './signer.ts'

export interface SignerProcessOptions extends SignerOptions {
  /** In a folder that only the signer and control can enter. */
  readonly socketPath: string
  readonly log: Logger
}

export interface SignerHandle {
  /** Ends every connection; what was answered was answered. */
  close(): Promise<void>
}

export async function startSigner(options: SignerProcessOptions): Promise<SignerHandle> {
  const { socketPath, log } = options
  const requests = await openRequests(options)
  await claimPath(socketPath)
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    serve(socket, requests, log)
  })
  server.maxConnections = max('signerConnectionsMax')
  await listen(server, socketPath)
  log.info('signer listens', { socket: socketPath, insecureKeys: options.insecureKeys === true })
  return {
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise<void>((resolve) => server.close(() => resolve()))
    },
  }
}

function serve(socket: Socket, requests: Requests, log: Logger): void {
  const lines = new LineReader('signerFrameBytesMax')
  socket.on('error', () => socket.destroy())
  socket.on('drain', () => socket.resume())
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const line of lines.push(chunk)) {
        const room = socket.write(answerLine(line, requests, log))
        if (!room) socket.pause()
      }
    } catch (error) {
      // A line without a number has nobody to answer to: the peer is not control as we know it.
      log.error('signer connection ended', { code: errorCode(error), error: String(error) })
      socket.destroy()
    }
  })
}

function answerLine(line: string, requests: Requests, log: Logger): string {
  const id = numberOf(line)
  try {
    const answer = requests(decodeRequest(line).request)
    if (answer.kind === 'issued' || answer.kind === 'ssh-issued') {
      const { ca, facts } = answer.issued
      log.info('certificate signed', { ca, serial: facts.serial, notAfterMs: facts.notAfterMs })
    }
    return encodeAnswer(id, answer)
  } catch (error) {
    log.warn('request refused', { code: errorCode(error), error: String(error) })
    return encodeAnswer(id, { error })
  }
}

/** The request's number, read by itself so that a request that cannot be read still gets its answer. */
function numberOf(line: string): number {
  const found = /^\{"id":(\d{1,15}),/.exec(line)
  if (found === null) throw new ProxyError('protocol.violation', 'A request line without a number.')
  return Number(found[1])
}

/** Removes the socket of an earlier run; anything else under that name stops the start. */
async function claimPath(socketPath: string): Promise<void> {
  const folder = await lstat(path.dirname(socketPath))
  if (!folder.isDirectory() || (folder.mode & 0o007) !== 0)
    throw new ProxyError(
      'signer.unavailable',
      'The signer’s socket folder is open to other users.',
      {
        next: 'chmod o= the folder.',
      },
    )
  try {
    const old = await lstat(socketPath)
    if (!old.isSocket())
      throw new ProxyError('signer.unavailable', `${socketPath} is there and no socket.`)
    await unlink(socketPath)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
}

async function listen(server: Server, socketPath: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(socketPath, resolve)
  })
  // Control may run under another uid and share the folder's group; the folder keeps everybody else out.
  await chmod(socketPath, 0o660)
}
