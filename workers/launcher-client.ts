// The agent's end of the launcher (cli/launcher/): a `Machine` for each session, whose programs, connections and listeners are the
// login's. Each of them is a connection of its own over a unix socket; nothing is kept for a session after its `end`.

import { ProxyError } from '../core/errors.ts'
import type {
  Connected,
  Listening,
  Machine,
  Place,
  Program,
  ProgramRequest,
} from '../core/ssh/machine.ts'
import type { ByteStream } from '../core/stream.ts'
import { readMessage, writeMessage } from './framed.ts'
import { type LaunchAsk, launchAnswer, type LaunchPaths, launchPaths } from './launch-wire.ts'
import { type HelperListening, helperConnect, helperListen } from './helper-client.ts'
import { dialLocal } from './local-socket.ts'
import { refused, startLaunched } from './launched-program.ts'

export class LauncherClient {
  readonly #paths: LaunchPaths

  /** `folder`: where the launcher of this machine keeps its sockets. */
  constructor(folder: string) {
    this.#paths = launchPaths(folder)
  }

  /** What the bearer of the certificate may do as the login. The launcher judges each use of it by itself. */
  machine(ask: LaunchAsk): Machine {
    return new LaunchedMachine(this.#paths, ask)
  }
}

class LaunchedMachine implements Machine {
  readonly #paths: LaunchPaths
  readonly #ask: LaunchAsk
  /** What ends with the session. */
  readonly #live = new Set<() => void>()
  #helper: Promise<string> | undefined
  #ended = false

  constructor(paths: LaunchPaths, ask: LaunchAsk) {
    this.#paths = paths
    this.#ask = ask
  }

  async start(request: ProgramRequest): Promise<Program> {
    this.#check()
    const { program, over } = await startLaunched(this.#paths, this.#ask, request)
    this.#hold(() => program.end(), over)
    return program
  }

  async connect(to: Place): Promise<ByteStream> {
    const stream = await helperConnect(await this.#helperPath(), to)
    this.#hold(() => stream.abort(over()), stream.closed)
    return stream
  }

  async listen(at: Place, connected: Connected): Promise<Listening> {
    return await this.#listen({ kind: 'listen', at }, connected)
  }

  async agentSocket(connected: Connected): Promise<Listening & { readonly path: string }> {
    return await this.#listen({ kind: 'agent' }, connected)
  }

  async x11(
    request: { readonly protocol: string; readonly cookie: string; readonly screen: number },
    connected: Connected,
  ): Promise<Listening & { readonly display: string }> {
    return await this.#listen({ ...request, kind: 'x11' }, connected)
  }

  end(): void {
    this.#ended = true
    for (const finish of this.#live) finish()
    this.#live.clear()
  }

  async #listen(
    request: Parameters<typeof helperListen>[1],
    connected: Connected,
  ): Promise<HelperListening> {
    const listening = await helperListen(await this.#helperPath(), request, (stream, from) => {
      this.#hold(() => stream.abort(over()), stream.closed)
      connected(stream, from)
    })
    this.#hold(() => listening.close(), listening.closed)
    return listening
  }

  /** Where the login's helper listens. It is held by a connection, and asked for again when that broke. */
  async #helperPath(): Promise<string> {
    this.#check()
    this.#helper ??= this.#askHelper()
    try {
      return await this.#helper
    } catch (error) {
      this.#helper = undefined
      throw error
    }
  }

  async #askHelper(): Promise<string> {
    const stream = await dialLocal(this.#paths.launcher)
    const lost = (): void => {
      this.#helper = undefined
    }
    try {
      await writeMessage(stream, { kind: 'helper', ask: this.#ask })
      const answer = await readMessage(stream, launchAnswer, 'launchOrderBytesMax')
      if (answer?.kind !== 'helper') throw refused(answer)
      this.#hold(() => stream.abort(over()), stream.closed)
      // Nothing more is said: this ends when the connection does.
      void stream
        .read()
        .catch(() => undefined)
        .then(() => stream.abort(over()))
        .then(lost)
      return answer.path
    } catch (error) {
      stream.abort(over())
      throw error
    }
  }

  /** Ended with the session, unless it is over by itself before. */
  #hold(finish: () => void, closed: Promise<void>): void {
    if (this.#ended) return finish()
    this.#live.add(finish)
    void closed.then(() => this.#live.delete(finish))
  }

  #check(): void {
    if (this.#ended) throw over()
  }
}

function over(): ProxyError {
  return new ProxyError('dial.failed', 'The session is over.')
}
