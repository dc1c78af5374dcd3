// A process of ours under another uid, tied to the launcher by a pipe: it says one byte when it listens, and ends when the pipe does.
// Nothing else it says is read: whoever has its uid may speak in its place.

import { type ChildProcess, spawn } from 'node:child_process'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'

export interface SideProcess {
  readonly pid: number
  /** Resolves when it is gone, for whatever reason. */
  readonly gone: Promise<void>
  /** Ends it: asked first, killed after a while. */
  stop(): Promise<void>
}

/** Resolves when it listens. Rejects when it ends or is silent before. */
export async function startSideProcess(
  words: readonly string[],
  env: Readonly<Record<string, string>>,
): Promise<SideProcess> {
  const [file = '', ...args] = words
  const child = spawn(file, args, { cwd: '/', env, stdio: ['pipe', 'pipe', 'ignore'] })
  const gone = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
    child.once('error', () => resolve())
  })
  child.stdin.on('error', () => {})
  const stop = (): Promise<void> => end(child, gone)
  try {
    await listening(child, gone)
  } catch (error) {
    await stop()
    throw error
  }
  return { pid: child.pid ?? 0, gone, stop }
}

async function listening(child: ChildProcess, gone: Promise<void>): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const failed = (): void =>
    reject(new ProxyError('dial.failed', 'A process for this login could not be started.'))
  const timer = setTimeout(failed, max('helperStartMs'))
  child.stdout?.once('data', () => {
    child.stdout?.destroy()
    resolve()
  })
  void gone.then(failed)
  await promise.finally(() => clearTimeout(timer))
}

async function end(child: ChildProcess, gone: Promise<void>): Promise<void> {
  child.stdin?.end()
  const timer = setTimeout(() => child.kill('SIGKILL'), max('helperStopMs'))
  await gone
  clearTimeout(timer)
}
