// `tsh ssh`: a shell or a command on a node, with the person's certificate, through the proxy, and without an ssh of the machine's.
// Several nodes by labels run the same command. What a host is, its certificate says; nobody is ever asked.

import os from 'node:os'

import { max } from '../../core/limits.ts'
import { type CommandSpec, type Input, type Option, usage } from '../command.ts'
import { CommandError, errorText, EXIT, ProgramEnded } from '../exit.ts'
import { type Forward, readDynamic, readForward } from '../ssh/forward-spec.ts'
import { requireSshLogin } from '../ssh/login.ts'
import { type OpensshOptions, readOptions } from '../ssh/options.ts'
import type { SessionRequest } from '../ssh/session.ts'
import type { Streams } from '../streams.ts'
import type { Tools } from '../tools.ts'
import { chooseLogin, type Destination, findDestinations, readHost } from './node.ts'
import { type Login, withLogin } from './session.ts'

/** What `tsh scp` has too. */
export const SSH_OPTIONS: readonly Option[] = [
  { flags: '-l, --login <login>', about: 'login on the node; before the @ says the same' },
  { flags: '-c, --cluster <name>', about: 'refuse when the login is of another cluster' },
  {
    flags: '-o, --option <option>',
    about: 'an option as OpenSSH writes it: Name=value',
    many: true,
  },
]

const OPTIONS: readonly Option[] = [
  ...SSH_OPTIONS,
  { flags: '-t, --tty', about: 'a terminal on the node also for a command' },
  { flags: '-N, --no-remote-exec', about: 'run nothing: forward ports until Ctrl-C' },
  {
    flags: '-L, --forward <spec>',
    about: 'port here to a place there: [bind:]port:host:port',
    many: true,
  },
  {
    flags: '-R, --remote-forward <spec>',
    about: 'port there to a place here: [bind:]port:host:port',
    many: true,
  },
  { flags: '-D, --dynamic-forward <spec>', about: 'SOCKS 5 port here: [bind:]port', many: true },
  { flags: '-A, --forward-agent', about: 'lend the node your ssh-agent while connected' },
  { flags: '-p, --port <port>', about: 'taken from scripts: a node has one SSH service' },
  { flags: '--local', about: 'run the command on this machine, with the ports forwarded' },
  { flags: '--log-dir <folder>', about: 'with labels: output of each node in files there' },
  { flags: '-f, --fork-after-authentication', about: 'not built: use the shell’s &' },
  { flags: '-X, --x11-untrusted', about: 'not built' },
  { flags: '-Y, --x11-trusted', about: 'not built' },
]

export const ssh: CommandSpec = {
  takes: '<host> [command...]',
  options: OPTIONS,
  about: [
    'The host is [login@]node, by name, id or address, or [login@]label=value,… for all nodes with these labels.',
    'Ends with the status of what ran there; 255 when the connection was lost. In a terminal, after Enter:',
    '~. ends the session, ~? lists more.',
  ].join('\n'),
  examples: [
    'tsh ssh root@web-1',
    'tsh ssh web-1 uptime',
    'tsh ssh -L 8080:localhost:80 -N web-1',
    'tsh ssh --log-dir=logs root@env=prod apt-get -y upgrade',
  ],
  async run(input, tools) {
    refuseUnbuilt(input)
    const host = readHost(input.arg(0))
    const plan = planOf(input, tools)
    const destinations = await withLogin(tools, input, async (login, connect) => {
      checkCluster(input, login)
      const found = await findDestinations(
        tools,
        login,
        requireSshLogin(tools, login),
        connect,
        host,
      )
      const wanted = host.login ?? input.text('login') ?? tools.env['TELEPORT_LOGIN']
      const user = os.userInfo().username
      return found.map((each) => ({ login, to: each, user: chooseLogin(wanted, each, user) }))
    })
    const [first, ...more] = destinations
    if (first === undefined) return
    const streams = tools.streams()
    const status =
      more.length === 0 && input.text('log-dir') === undefined
        ? await visit(tools, first, plan, streams)
        : await visitAll(tools, destinations, plan, streams, input.text('log-dir'))
    if (status !== 0) throw new ProgramEnded(status)
  },
}

/** Somebody at a node. */
export interface Visit {
  readonly login: Login
  readonly to: Destination
  readonly user: string
}

interface Plan {
  readonly command: readonly string[]
  readonly kind: 'remote' | 'local' | 'nothing'
  /** Undefined: a terminal for a shell, none for a command. */
  readonly tty: boolean | undefined
  readonly local: readonly Forward[]
  readonly remote: readonly Forward[]
  readonly dynamic: readonly ReturnType<typeof readDynamic>[]
  readonly options: OpensshOptions
  readonly agent: boolean
}

export function checkCluster(input: Input, { profile }: Login): void {
  const wanted = input.text('cluster')
  if (wanted === undefined || wanted === profile.cluster) return
  throw new CommandError(
    `the login is of the cluster ${profile.cluster}, not ${wanted}`,
    EXIT.notLoggedIn,
    'Name its proxy: --proxy=HOST:PORT',
  )
}

function refuseUnbuilt(input: Input): void {
  if (input.flag('fork-after-authentication'))
    throw usage('-f is not built: tsh does not go into the background', 'Use: tsh ssh -N … &')
  if (input.flag('x11-untrusted') || input.flag('x11-trusted'))
    throw usage('X11 forwarding is not built', 'OpenSSH has it: see tsh config.')
  input.whole('port', 1, 65_535)
}

function planOf(input: Input, tools: Tools): Plan {
  const command = input.args.slice(1)
  const kind = input.flag('local') ? 'local' : input.flag('no-remote-exec') ? 'nothing' : 'remote'
  if (kind === 'local' && command.length === 0) throw usage('--local needs a command')
  if (kind === 'nothing' && command.length > 0)
    throw usage('-N runs nothing: leave out the command')
  const options = readOptions(input.many('option'), tools.env)
  const { requestTty } = options
  return {
    command,
    kind,
    tty: input.flag('tty') || requestTty === 'yes' ? true : requestTty === 'no' ? false : undefined,
    local: input.many('forward').map((each) => readForward(each, 'L')),
    remote: input.many('remote-forward').map((each) => readForward(each, 'R')),
    dynamic: input.many('dynamic-forward').map(readDynamic),
    options,
    agent: input.flag('forward-agent') || options.forwardAgent === true,
  }
}

/** Goes there, does it, comes back with its status. */
async function visit(
  tools: Tools,
  { login, to, user }: Visit,
  plan: Plan,
  streams: Streams,
): Promise<number> {
  const [{ connectNode }, { Forwards }, { runSession }] = await Promise.all([
    import('../ssh/connect.ts'),
    import('../ssh/forwards.ts'),
    import('../ssh/session.ts'),
  ])
  const { local, remote, dynamic } = plan
  const forwards = new Forwards({
    local,
    remote,
    dynamic,
    ...agentOf(tools, plan),
    failed: (text) => tools.note(`${text}\n`),
  })
  const wanted = { ...to, node: to.name, user }
  const { connection, end } = await connectNode(tools, login, wanted, forwards)
  try {
    await forwards.start(connection)
    if (plan.kind === 'nothing') {
      const lost = await Promise.race([
        connection.closed.then(() => true),
        tools.untilInterrupted(),
      ])
      return lost === true ? LOST : 0
    }
    if (plan.kind === 'local') {
      const [program = '', ...args] = plan.command
      return await tools.run(program, args, tools.env)
    }
    const status = await runSession(connection, requestOf(plan, streams), streams)
    const open = Promise.resolve(undefined)
    const failure = status === LOST ? await Promise.race([connection.closed, open]) : undefined
    if (failure !== undefined) tools.note(`${errorText(failure)}\n`)
    return status
  } finally {
    forwards.close()
    await end()
  }
}

const LOST = 255

function agentOf(tools: Tools, { agent }: Plan): { agentSocket?: string } {
  if (!agent) return {}
  const agentSocket = tools.env['SSH_AUTH_SOCK']
  if (agentSocket !== undefined && agentSocket !== '') return { agentSocket }
  throw usage(
    'there is no ssh-agent to lend: SSH_AUTH_SOCK is not set',
    'Leave out -A, or start one.',
  )
}

function requestOf({ command, tty, options, agent }: Plan, streams: Streams): SessionRequest {
  const wanted = command.length === 0 ? {} : { command: Buffer.from(command.join(' ')) }
  const pty = tty ?? (command.length === 0 && streams.terminal !== undefined)
  return { ...wanted, pty, env: options.env, forwardAgent: agent }
}

async function visitAll(
  tools: Tools,
  visits: readonly Visit[],
  plan: Plan,
  streams: Streams,
  logDir: string | undefined,
): Promise<number> {
  const forwarding = plan.local.length + plan.remote.length + plan.dynamic.length > 0
  if (plan.kind !== 'remote' || plan.command.length === 0 || plan.tty === true || forwarding)
    throw usage(
      `these labels name ${visits.length} nodes: give a command, and neither -t, -N, -L, -R, -D nor --local`,
      `See them with: tsh ls. Up to ${max('sshHostsAtOnceMax')} run at once.`,
    )
  const { runSeveral } = await import('../ssh/several.ts')
  const failed = await runSeveral(
    visits.map((each) => ({
      name: each.to.name,
      run: (mine: Streams) => visit(tools, each, plan, mine),
    })),
    streams,
    logDir,
  )
  if (failed.length === 0) return 0
  tools.note(`${failed.length} of ${visits.length} nodes failed: ${failed.join(', ')}\n`)
  return EXIT.failure
}
