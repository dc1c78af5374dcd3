// The launcher: the one root process of the SSH service. It answers the agent alone, over a unix socket in a folder nobody else may
// enter; each connection is one request, judged by itself (judge.ts). It starts programs, helpers and the process that holds terminals,
// and touches no byte of any of them.

import { chmodSync, chownSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'

import type { Clock } from '../../core/clock.ts'
import { errorCode, ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { Logger } from '../../core/log.ts'
import type { ByteStream } from '../../core/stream.ts'
import { readFrame, readMessage, writeMessage } from '../../workers/framed.ts'
import {
  type LaunchAnswer,
  type LaunchAsk,
  type LaunchPaths,
  launchPaths,
  launchRequest,
  type LaunchRequest,
  type ProgramLaunch,
} from '../../workers/launch-wire.ts'
import { type LocalServer, sentenceOf, serveLocal } from '../../workers/local-socket.ts'
import { decodeSigned } from '../../workers/signed-frame.ts'
import { type Account, findAccount } from './account.ts'
import { pathOf } from './environment.ts'
import { Helpers } from './login-helpers.ts'
import { judgeAsk, type Judged } from './judge.ts'
import { launchProgram } from './launch.ts'
import { type LoginFiles, LoginRecords } from './login-records.ts'
import { checkPrograms } from './program-line.ts'
import { Rooms } from './rooms.ts'
import { TerminalsProcess } from './terminals-process.ts'
import { thisSystem } from './this-system.ts'
import { LauncherTrust, type TrustFile } from './trust.ts'
import { layoutOf } from './utmp.ts'

export interface LauncherOptions {
  /** Everything its sockets need is made below it. */
  readonly folder: string
  readonly agentUid: number
  readonly agentGid: number
  readonly trustFile: TrustFile
  readonly clock: Clock
  readonly log: Logger
  /** Where the machine keeps records of terminals, for a launcher that may write them. */
  readonly loginFiles?: LoginFiles
}

export class Launcher {
  readonly #options: LauncherOptions
  readonly #paths: LaunchPaths
  readonly #trust: LauncherTrust
  readonly #rooms = new Rooms()
  readonly #helpers: Helpers
  readonly #terminals: TerminalsProcess
  readonly #ttyGid = groupId('tty')
  readonly #records: LoginRecords | undefined
  #carrier: ByteStream | undefined
  #server: LocalServer | undefined

  constructor(options: LauncherOptions) {
    const { folder, agentUid, agentGid, trustFile, clock, log } = options
    this.#options = options
    this.#paths = launchPaths(folder)
    this.#trust = new LauncherTrust(trustFile, clock, log)
    this.#helpers = new Helpers({ folder: this.#paths.logins, agentGid, path: pathOf, log })
    this.#terminals = new TerminalsProcess({ paths: this.#paths, agentUid, agentGid, log })
    this.#records = recordsFor(options)
  }

  /** Live things by kind. */
  get counts(): Readonly<Record<'connections' | 'programs' | 'helpers', number>> {
    const connections = this.#server?.connections ?? 0
    return { connections, programs: this.#rooms.size, helpers: this.#helpers.size }
  }

  async start(): Promise<void> {
    checkPrograms()
    this.#prepareFolders()
    this.#records?.endStale()
    await this.#terminals.start()
    this.#server = await serveLocal({
      path: this.#paths.launcher,
      connectionsMax: 'launchConnectionsMax',
      serve: (stream) => this.#serve(stream),
      failed: (error) => this.#options.log.debug('a connection ended', { error: String(error) }),
    })
  }

  /** Programs without a terminal go on: they have their own connections. */
  async close(): Promise<void> {
    await this.#server?.close()
    await Promise.all([this.#helpers.close(), this.#terminals.stop()])
    // Terminals are hung up; nobody may be left to hear how their programs end.
    this.#records?.close()
  }

  /** What is left of sockets is of a launcher that is gone. */
  #prepareFolders(): void {
    const { folder, agentGid } = this.#options
    const { agent, logins } = this.#paths
    mkdirSync(folder, { recursive: true, mode: 0o711 })
    mkdirSync(agent, { recursive: true, mode: 0o700 })
    mkdirSync(logins, { recursive: true, mode: 0o711 })
    // The process's umask closes what logins must pass through.
    for (const passed of [folder, logins]) chmodSync(passed, 0o711)
    for (const name of readdirSync(agent)) rmSync(path.join(agent, name), { force: true })
    if (process.getuid?.() !== 0) return
    // The agent passes through, and cannot put anything into it; what is made in there gets its group.
    chownSync(agent, 0, agentGid)
    chmodSync(agent, 0o2710)
  }

  async #serve(stream: ByteStream): Promise<void> {
    const request = await this.#request(stream)
    if (request === undefined) return
    switch (request.kind) {
      case 'program':
        return await this.#answered(stream, request.ask, () => this.#program(stream, request))
      case 'helper':
        return await this.#answered(stream, request.ask, () => this.#helper(stream, request.ask))
      case 'trust':
        return await this.#hear(stream, request.signers)
    }
  }

  async #request(stream: ByteStream): Promise<LaunchRequest | undefined> {
    const late = new ProxyError('limit.exceeded', 'A request was not whole within launchRequestMs.')
    const timer = setTimeout(() => stream.abort(late), max('launchRequestMs'))
    try {
      return await readMessage(stream, launchRequest, 'launchRequestBytesMax')
    } finally {
      clearTimeout(timer)
    }
  }

  /** Whatever stands in the way is said in a sentence; what is not ours to say is in the log. */
  async #answered(stream: ByteStream, ask: LaunchAsk, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const reason = sentenceOf(
        error,
        'This machine could not do it; the log of its launcher says why.',
      )
      this.#options.log.warn('refused', {
        login: ask.login,
        session: ask.sessionId,
        code: errorCode(error),
        error: String(error),
      })
      await answer(stream, { kind: 'refused', reason })
    }
  }

  async #program(stream: ByteStream, launch: ProgramLaunch): Promise<void> {
    const judged = this.#judge(launch.ask)
    checkGranted(launch, judged)
    const account = await this.#account(launch.ask)
    const release = this.#rooms.take(account.uid)
    try {
      await launchProgram(stream, launch, judged, account, {
        folder: this.#paths.agent,
        agentUid: this.#options.agentUid,
        ttyGid: this.#ttyGid,
        records: this.#records,
      })
    } finally {
      release()
    }
  }

  async #helper(stream: ByteStream, ask: LaunchAsk): Promise<void> {
    const { forwardAgent, localForwarding, remoteForwarding, x11 } = this.#judge(ask).grant
    if (!forwardAgent && !localForwarding && !remoteForwarding && !x11)
      throw new ProxyError('policy.denied', 'Your roles allow no forwarding on this machine.')
    const use = await this.#helpers.use(await this.#account(ask))
    try {
      await answer(stream, { kind: 'helper', path: use.socket })
      // Over when the agent says so, or the helper is gone. There is nothing else to say.
      await Promise.race([stream.read().catch(() => undefined), use.gone])
    } finally {
      use.release()
    }
  }

  #judge(ask: LaunchAsk): Judged {
    return judgeAsk(ask, this.#trust.snapshot, this.#options.clock.now())
  }

  #account(ask: LaunchAsk): Promise<Account> {
    return findAccount(ask.login, this.#options.clock.now())
  }

  /** One carrier of control's messages at a time; a newer one takes the place of one that may hang. */
  async #hear(stream: ByteStream, signers: readonly Uint8Array[]): Promise<void> {
    this.#carrier?.abort(new ProxyError('dial.failed', 'Another connection took over.'))
    this.#carrier = stream
    this.#trust.introduce(signers)
    try {
      for (;;) {
        const frame = await readFrame(stream, 'snapshotBytesMax')
        if (frame === undefined) return
        this.#trust.accept(decodeSigned(frame))
      }
    } finally {
      if (this.#carrier === stream) this.#carrier = undefined
    }
  }
}

function checkGranted({ terminal, program }: ProgramLaunch, judged: Judged): void {
  if (terminal !== undefined && !judged.terminal)
    throw new ProxyError('policy.denied', 'The certificate does not permit a terminal.')
  if (program.kind === 'subsystem' && !judged.grant.fileCopy)
    throw new ProxyError('policy.denied', 'Your roles allow no copying of files on this machine.')
}

function answer(stream: ByteStream, message: LaunchAnswer): Promise<void> {
  return writeMessage(stream, message)
}

function recordsFor(options: LauncherOptions): LoginRecords | undefined {
  const { loginFiles: files, folder: owner, clock, log } = options
  const layout = files === undefined ? undefined : layoutOf(thisSystem())
  if (files === undefined || layout === undefined) return undefined
  return new LoginRecords({ files, layout, owner, clock, log })
}

function groupId(name: string): number | undefined {
  const found = new RegExp(`^${name}:[^:]*:(\\d+):`, 'm').exec(readFileSync('/etc/group', 'utf8'))
  return found === null ? undefined : Number(found[1])
}
