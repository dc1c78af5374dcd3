// What commands may touch: the terminal, files of the profile, the network towards control, other programs. Tests pass their own.
// Heavy parts (the API client with its schemas) are loaded when a command first asks for them.

import type { ControlClient } from '../control/api/client.ts'
import type { ControlTrust } from '../control/api/trust.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { type Key, type Keys, openKeys } from './keys.ts'
import { type KeyPair, ProfileStore } from './profile.ts'
import { profileHome } from './profile-home.ts'
import { terminalPrompt, type Prompt } from './prompt.ts'
import { processStreams, type Streams } from './streams.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** How control is reached and known. */
export interface Reach {
  /** Public addresses of proxies, tried in this order. */
  readonly proxies: readonly string[]
  readonly trust: ControlTrust
  /** Absent: anonymous. */
  readonly identity?: KeyPair
}

export interface Tools {
  readonly env: Environment
  readonly clock: Clock
  readonly profiles: ProfileStore
  readonly prompt: Prompt
  /** A person sits there who can be asked at any time. */
  readonly interactive: boolean
  /** What was asked for. */
  out(text: string): void
  /** The same for much of it: a slow reader of ours slows the source down instead of filling our memory. */
  outSlowly(text: string): Promise<void>
  /** What goes along with it: progress, hints, warnings. */
  note(text: string): void
  /** Answers from lines of standard input, also where a terminal is there. */
  stdin(): Promise<Prompt>
  /** Standard input and outputs as they are, for what is not ours to read. */
  streams(): Streams
  /** Control, end to end through a proxy. */
  control(reach: Reach): Promise<ControlClient>
  /** Control's own socket on this machine. */
  localControl(socketPath: string): Promise<ControlClient>
  /** GET over HTTPS with the system's roots: what the web's PKI vouches for. */
  webGet(address: string, path: string): Promise<unknown>
  /** IP addresses of a host name. */
  lookup(host: string): Promise<readonly string[]>
  /** Runs another program in this terminal; resolves with its exit status. */
  run(program: string, args: readonly string[], env: Environment): Promise<number>
  /** Resolves when a person presses Ctrl-C or the process is asked to end. */
  untilInterrupted(): Promise<void>
  /** Resolves then, or as soon as the signal says so. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
  /** Keys as they are pressed, until they are closed; undefined where nobody sits at a terminal. */
  keys(pressed: (key: Key) => void): Keys | undefined
}

export function realTools(): Tools {
  return {
    env: process.env,
    clock: systemClock,
    profiles: new ProfileStore(profileHome()),
    prompt: terminalPrompt(),
    interactive: process.stdin.isTTY === true && process.stderr.isTTY === true,
    out: (text) => void process.stdout.write(text),
    async outSlowly(text) {
      if (!process.stdout.write(text))
        await new Promise<void>((resolve) => process.stdout.once('drain', resolve))
    },
    note: (text) => void process.stderr.write(text),
    async stdin() {
      const { linePrompt } = await import('./prompt.ts')
      return linePrompt(process.stdin)
    },
    streams: processStreams,
    control: connectThroughProxy,
    async localControl(socketPath) {
      const { connectLocalControl } = await import('../control/api/client.ts')
      return connectLocalControl(socketPath)
    },
    async webGet(address, path) {
      const { webGet } = await import('./web-get.ts')
      return await webGet(address, path)
    },
    async lookup(host) {
      const { lookup } = await import('node:dns/promises')
      return (await lookup(host, { all: true })).map(({ address }) => address)
    },
    async run(program, args, env) {
      const { runProgram } = await import('./run-program.ts')
      return await runProgram(program, args, env)
    },
    untilInterrupted,
    sleep,
    keys(pressed) {
      const { terminal } = processStreams()
      if (!process.stdout.isTTY || terminal === undefined) return undefined
      return openKeys(process.stdin, pressed, () => terminal.raw())
    },
  }
}

async function connectThroughProxy({ proxies, trust, identity }: Reach): Promise<ControlClient> {
  const [{ connectControl }, { connectTo }] = await Promise.all([
    import('../control/api/client.ts'),
    import('./connect.ts'),
  ])
  return connectControl({
    connect: connectTo(() => proxies),
    trust,
    ...(identity === undefined ? {} : { identity }),
  })
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const over = (): void => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', over)
      resolve()
    }
    const timer = setTimeout(over, ms)
    signal?.addEventListener('abort', over)
    if (signal?.aborted === true) over()
  })
}

function untilInterrupted(): Promise<void> {
  return new Promise((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => resolve())
  })
}
