// `tsh scp`: files to and from a node over SFTP, with the person's certificate. Ends with 1 when something could not be copied, and
// names it; the rest is copied.

import os from 'node:os'

import { ProxyError } from '../../core/errors.ts'
import { type CommandSpec, type Input, usage } from '../command.ts'
import { CommandError } from '../exit.ts'
import { type Place, readPlace } from '../sftp/place.ts'
import { requireSshLogin } from '../ssh/login.ts'
import { readOptions } from '../ssh/options.ts'
import type { Tools } from '../tools.ts'
import { chooseLogin, findDestinations, readHost } from './node.ts'
import { withLogin } from './session.ts'
import { checkCluster, SSH_OPTIONS, type Visit } from './ssh.ts'

export const scp: CommandSpec = {
  takes: '<from> <to...>',
  options: [
    ...SSH_OPTIONS,
    { flags: '-r, --recursive', about: 'folders with what is in them' },
    { flags: '-p, --preserve', about: 'permissions and times too' },
    { flags: '-P, --port <port>', about: 'taken from scripts: a node has one SSH service' },
    { flags: '-q, --quiet', about: 'no progress' },
  ],
  about: [
    'Places on a node are [login@]node:path; a path that is not absolute begins at the login’s home. Several sources',
    'go into a folder. `*` and `?` in the last part of a path on a node are matched there. One node at a time.',
  ].join('\n'),
  examples: [
    'tsh scp notes.txt root@web-1:/tmp/',
    "tsh scp 'root@web-1:/var/log/*.log' logs/",
    'tsh scp -r -p site web-1:',
  ],
  async run(input, tools) {
    input.whole('port', 1, 65_535)
    readOptions(input.many('option'), tools.env)
    const places = input.args.map(readPlace)
    const plan = planOf(places)
    const visit = await destinationOf(input, tools, plan.node)
    const failures = await copy(input, tools, visit, plan)
    if (failures > 0)
      throw new CommandError(
        `${failures} ${failures === 1 ? 'thing was' : 'things were'} not copied`,
      )
  },
}

interface CopyPlan {
  readonly node: string
  readonly up: boolean
  readonly sources: readonly string[]
  readonly target: string
}

/** One node, and everything on its other side here. */
function planOf(places: readonly Place[]): CopyPlan {
  const sources = places.slice(0, -1)
  const target = places.at(-1)
  const up = target?.kind === 'there'
  const remote = places.filter((each) => each.kind === 'there')
  const [first] = remote
  if (target === undefined || first === undefined)
    throw usage(
      'nothing here is on a node',
      'Write [login@]node:path; for copies on this machine use cp.',
    )
  if (up ? remote.length > 1 : remote.length !== sources.length)
    throw usage('copies go from here to a node, or from a node to here', 'Copy in two steps.')
  if (remote.some(({ node }) => node !== first.node))
    throw usage('the sources are on different nodes', 'Copy from one node at a time.')
  const paths = sources.map(({ path }) => path)
  return { node: first.node, up, sources: paths, target: target.path }
}

async function destinationOf(input: Input, tools: Tools, node: string): Promise<Visit> {
  const host = readHost(node)
  return await withLogin(tools, input, async (login, connect) => {
    checkCluster(input, login)
    const found = await findDestinations(tools, login, requireSshLogin(tools, login), connect, host)
    const [to, ...more] = found
    if (to === undefined || more.length > 0)
      throw usage(`"${host.host}" names ${found.length} nodes`, 'Copy to one node at a time.')
    const wanted = host.login ?? input.text('login') ?? tools.env['TELEPORT_LOGIN']
    return { login, to, user: chooseLogin(wanted, to, os.userInfo().username) }
  })
}

/** Resolves with the count of what could not be copied. */
async function copy(
  input: Input,
  tools: Tools,
  { login, to, user }: Visit,
  plan: CopyPlan,
): Promise<number> {
  const [{ connectNode }, { SftpClient }, { Copy }, { Progress }] = await Promise.all([
    import('../ssh/connect.ts'),
    import('../sftp/client.ts'),
    import('../sftp/copy.ts'),
    import('../sftp/progress.ts'),
  ])
  const wanted = { ...to, node: to.name, user }
  const { connection, end } = await connectNode(tools, login, wanted)
  try {
    const channel = await connection.open({ kind: 'session' })
    if (!(await channel.request({ kind: 'subsystem', name: 'sftp' }))) throw refused()
    const shown = tools.streams().terminal !== undefined && !input.flag('quiet')
    const job = new Copy(await SftpClient.start(channel), {
      recursive: input.flag('recursive'),
      preserve: input.flag('preserve'),
      failed: (text) => tools.note(`${text}\n`),
      ...(shown ? { progress: new Progress(tools.clock, (text) => tools.note(text)) } : {}),
    })
    if (plan.up) await job.toNode(plan.sources, plan.target)
    else await job.fromNode(plan.sources, plan.target)
    channel.close()
    return job.failures
  } finally {
    await end()
  }
}

function refused(): ProxyError {
  return new ProxyError('policy.denied', 'The node refuses to copy files.', {
    side: 'target',
    next: 'Your roles, or the node, may not allow it (ssh_file_copy).',
  })
}
