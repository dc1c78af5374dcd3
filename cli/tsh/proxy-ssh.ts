// `tsh proxy ssh`: standard input and output joined with a node's SSH behind a proxy. What OpenSSH starts as ProxyCommand for each
// connection, so it loads nothing it does not need and asks nobody but the proxy. Standard output carries SSH and never a word of ours.

import { finished } from 'node:stream/promises'
import type { Duplex } from 'node:stream'

import { type CommandSpec, type Input, usage } from '../command.ts'
import { CommandError, EXIT } from '../exit.ts'
import { openWayIn } from '../ssh/way-in.ts'
import type { Streams } from '../streams.ts'
import { casOf, proxiesOf, requireLogin } from './session.ts'

export const proxySsh: CommandSpec = {
  takes: '<host>',
  options: [
    { flags: '-c, --cluster <name>', about: 'refuse when the login is of another cluster' },
  ],
  about: [
    'For ProxyCommand of OpenSSH; `tsh config` writes the lines. The host is [user@]node[:port]; user and port are',
    'OpenSSH’s business: a node has one SSH service, whatever its port.',
  ].join('\n'),
  examples: [
    'tsh proxy ssh --cluster=example.com root@web-1.example.com:22',
    'ssh -o ProxyCommand="tsh proxy ssh %r@%h:%p" root@web-1.example.com',
  ],
  async run(input, tools) {
    const node = nodeOf(input)
    const login = await requireLogin(tools, input)
    const cluster = input.text('cluster')
    if (cluster !== undefined && cluster !== login.profile.cluster)
      throw new CommandError(
        `the login is of the cluster ${login.profile.cluster}, not ${cluster}`,
        EXIT.notLoggedIn,
        'Name its proxy: --proxy=HOST:PORT',
      )
    const socket = await openWayIn({
      proxies: proxiesOf(login),
      cas: casOf(tools, login),
      pair: login.pair,
      node,
    })
    await relay(tools.streams(), socket)
  },
}

function nodeOf(input: Input): string {
  const host = input.arg(0).replace(/^.*@/, '')
  const bare = /^\[([^\]]+)\](?::\d+)?$/.exec(host)?.[1] ?? host.replace(/:\d{1,5}$/, '')
  if (bare === '') throw usage('which node?', 'Write [user@]node[:port].')
  return bare
}

/** Both ways with their backpressure. Over when the node has said everything; then what OpenSSH might still say is for nobody. */
async function relay({ input, output }: Streams, socket: Duplex): Promise<void> {
  input.pipe(socket)
  socket.pipe(output, { end: false })
  // OpenSSH that goes away takes the connection with it.
  output.once('error', () => socket.destroy())
  try {
    await finished(socket, { writable: false })
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause)
    throw new CommandError(
      `the connection through the proxy broke: ${reason}`,
      EXIT.unreachable,
      'Check the network; the proxy may have restarted.',
    )
  } finally {
    input.unpipe(socket)
    input.pause()
    socket.destroy()
  }
}
