// One session channel (RFC 4254, section 6): what its client asks of it, in order, until a program runs, and what it may ask of that. A
// channel runs one program. What is refused with words says them on the channel's stderr and ends with status 126, as a shell does.

import { max } from '../../core/limits.ts'
import type { Refusal } from '../../core/protocol.ts'
import type { Program, Pty } from '../../core/ssh/machine.ts'
import { Carried } from './carried.ts'
import { Environment } from './environment.ts'
import { SftpAccount } from './file-transfer.ts'
import type { Lendings } from './lendings.ts'
import { ORIGINAL_COMMAND, planOf, type Plan, type Wish } from './plan.ts'
import { denied, failed, forbidden, onStderr } from './refusal.ts'
import type { Served } from './served.ts'
import { CommandAccount, type Account } from './telling.ts'
import { TerminalAccount } from './terminal.ts'
import type { RequestAnswer, SshChannel } from './transport/channel.ts'
import type { ChannelOpening } from './transport/connection.ts'
import type { ChannelRequest, WindowSize } from './transport/requests.ts'

type Phase =
  | { readonly kind: 'asked' | 'starting' | 'over' }
  | { readonly kind: 'running'; readonly program: Program; readonly account: Account }

/** POSIX: a command was found and may not run. */
const MAY_NOT_RUN = 126
const SIGNALS = /^(ABRT|ALRM|FPE|HUP|ILL|INT|KILL|PIPE|QUIT|SEGV|TERM|USR1|USR2)$/
const TERM = /^[\x21-\x7e]{0,64}$/

export class SessionChannel {
  readonly #served: Served
  readonly #lendings: Lendings
  readonly #channel: SshChannel
  readonly #environment = new Environment()
  /** Variables that lead to what the client lends: its ssh-agent, its display. */
  #lent: Readonly<Record<string, string>> = {}
  /** What a proxy's client asked for, in place of the command it was forced to. */
  #asked: string | undefined
  #pty: Pty | undefined
  #phase: Phase = { kind: 'asked' }
  #carried: Carried | undefined

  constructor(opening: ChannelOpening, served: Served, lendings: Lendings) {
    this.#served = served
    this.#lendings = lendings
    this.#channel = opening.accept((request) => this.#request(request))
  }

  /** Resolves when its channel is closed. */
  get closed(): Promise<void> {
    return this.#channel.closed
  }

  /** Resolves when the channel is closed, its program told of, and its recording where it belongs. */
  async over(): Promise<void> {
    await this.#channel.closed
    await this.#carried?.over
  }

  /** The session ends from outside: a person at this channel hears why. */
  farewell(sentence: string): void {
    this.#carried?.evict(sentence)
    if (this.#phase.kind === 'running') this.#channel.farewell(onStderr(sentence))
  }

  #request(request: ChannelRequest): RequestAnswer | Promise<RequestAnswer> {
    switch (request.kind) {
      case 'pty':
        return this.#terminal(request)
      case 'env':
        return this.#phase.kind === 'asked' && this.#variable(request)
      case 'shell':
      case 'exec':
      case 'subsystem':
        return this.#begin(request)
      case 'window-change':
        return this.#resize(request.size)
      case 'signal':
        return this.#signal(request.name)
      case 'auth-agent':
        return this.#lend(() => this.#lendings.agent())
      case 'x11':
        return this.#lend(() => this.#lendings.x11(request))
    }
  }

  #terminal({ term, size, modes }: Extract<ChannelRequest, { kind: 'pty' }>): boolean {
    if (this.#phase.kind !== 'asked' || this.#pty !== undefined) return false
    if (!TERM.test(term) || modes.length > max('sshModesBytesMax')) return false
    if (!this.#served.permits.terminal) {
      this.#served.refused('SLH001W', { kind: 'pty', error: 'the certificate allows no terminal' })
      return false
    }
    this.#pty = { term, size: bounded(size), modes }
    return true
  }

  async #lend(lend: () => Promise<Readonly<Record<string, string>> | undefined>): Promise<boolean> {
    if (this.#phase.kind !== 'asked') return false
    const variables = await lend()
    if (variables === undefined) return false
    this.#lent = { ...this.#lent, ...variables }
    return true
  }

  async #resize(wanted: WindowSize): Promise<boolean> {
    if (this.#pty === undefined) return false
    const size = bounded(wanted)
    const { columns, rows } = this.#pty.size
    this.#pty = { ...this.#pty, size }
    if (this.#phase.kind !== 'running') return this.#phase.kind === 'asked'
    this.#phase.program.resize(size)
    if (size.columns !== columns || size.rows !== rows)
      await this.#phase.account.resized(size.columns, size.rows)
    return true
  }

  #variable({ name, value }: Extract<ChannelRequest, { kind: 'env' }>): boolean {
    const original = name === ORIGINAL_COMMAND && this.#served.ssh.forwarded !== undefined
    if (!original) return this.#environment.set(name, value)
    this.#asked = value.slice(0, max('sshVariableBytesMax'))
    return true
  }

  #signal(name: string): boolean {
    if (this.#phase.kind !== 'running' || !SIGNALS.test(name)) return false
    this.#phase.program.signal(name)
    return true
  }

  async #begin(wish: Wish): Promise<RequestAnswer> {
    if (this.#phase.kind !== 'asked') return false
    const { permits, ssh } = this.#served
    const proxy = ssh.forwarded === undefined ? undefined : { asked: this.#asked }
    const plan = planOf(wish, permits.forced, proxy)
    if (plan === undefined) {
      const name = wish.kind === 'subsystem' ? wish.name.slice(0, max('shownTextMax')) : ''
      this.#served.refused('T3001E', { name, error: 'there is no such subsystem' })
      return false
    }
    this.#phase = { kind: 'starting' }
    if (plan.copy !== undefined || plan.story === 'sftp') {
      const no = this.#mayCopy(plan)
      if (no !== undefined) return this.#dismiss(no)
    }
    const account = this.#account(plan)
    if ('reason' in account) return this.#dismiss(denied(account))
    return this.#start(plan, account)
  }

  /** Why files may not be copied, once it was told. */
  #mayCopy(plan: Plan): string | undefined {
    if (this.#served.permits.fileCopy) return undefined
    const error = 'copying files is not allowed by your roles (ssh_file_copy)'
    const code = plan.story === 'sftp' ? 'TS020E' : 'T3010E'
    this.#served.refused(code, { ...(code === 'T3010E' ? plan.fields : {}), error })
    return forbidden(error)
  }

  #account(plan: Plan): Account | Refusal {
    if (plan.story === 'sftp') return new SftpAccount(this.#served)
    if (this.#pty === undefined) return new CommandAccount(this.#served, plan)
    return TerminalAccount.open(this.#served, plan, this.#pty)
  }

  async #start(plan: Plan, account: Account): Promise<RequestAnswer> {
    const request = {
      program: plan.program,
      env: this.#environment.with({ ...this.#ours(account), ...this.#lent, ...plan.env }),
      ...(this.#pty === undefined || plan.story === 'sftp' ? {} : { pty: this.#pty }),
    }
    try {
      const program = await this.#served.machine.start(request)
      this.#phase = { kind: 'running', program, account }
      this.#carried = new Carried(this.#channel, program, account, this.#served)
      account.begun()
      return () => this.#carried?.begin()
    } catch (error) {
      const sentence = failed('the program could not be started', error)
      await account.over({
        exit: undefined,
        error: sentence,
        reason: 'it did not begin',
        fromClientBytes: 0,
        fromTargetBytes: 0,
      })
      return this.#dismiss(sentence)
    }
  }

  /** Who it runs for, as the reference product's programs are told. */
  #ours(account: Account): Readonly<Record<string, string>> {
    const { identity } = this.#served.right
    return {
      SSH_TELEPORT_USER: identity.name,
      SSH_TELEPORT_CLUSTER_NAME: identity.cluster,
      ...(account instanceof TerminalAccount ? { SSH_SESSION_ID: account.sid } : {}),
      ...this.#served.ssh.environment,
    }
  }

  /** Yes to the request, so that the sentence is shown by whatever client this is, and then the end. */
  #dismiss(sentence: string): RequestAnswer {
    this.#phase = { kind: 'over' }
    return () => {
      this.#channel.farewell(`${sentence}\r\n`)
      void this.#channel.finish({ kind: 'status', code: MAY_NOT_RUN })
    }
  }
}

const CELLS_MAX = 0xffff

/** The kernel keeps sizes in 16 bits. */
function bounded(size: WindowSize): WindowSize {
  const cut = (cells: number): number => Math.min(cells, CELLS_MAX)
  return {
    columns: cut(size.columns),
    rows: cut(size.rows),
    width: cut(size.width),
    height: cut(size.height),
  }
}
