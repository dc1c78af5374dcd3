// `tsh config`: what OpenSSH's ssh, scp, sftp and everything built on them need to reach nodes with the person's login: whom to trust,
// what to prove with, which way to go. Text for ~/.ssh/config; nothing is written. Words that ssh_config would read otherwise are quoted.

import { fileURLToPath } from 'node:url'

import type { CommandSpec } from '../command.ts'
import { CommandError, EXIT } from '../exit.ts'
import { hostOf } from '../profile.ts'
import { requireSshLogin } from '../ssh/login.ts'
import { splitAddress } from '../supervisor/listeners.ts'
import type { Tools } from '../tools.ts'
import { listNodes } from './node.ts'
import { type Login, withSession } from './session.ts'

export const config: CommandSpec = {
  options: [
    { flags: '-c, --cluster <name>', about: 'refuse when the login is of another cluster' },
    { flags: '-p, --port <port>', about: 'taken from scripts: a node has one SSH service' },
  ],
  about: [
    'Print it into a file that ~/.ssh/config includes; then `ssh login@node.CLUSTER` works, and scp, sftp, rsync, git',
    'and Ansible with it. It does not change with a new login. Print it again when the cluster’s recording mode changes,',
    'or servers without an agent come.',
  ].join('\n'),
  examples: ['tsh config > ~/.ssh/sluice && echo "Include sluice" >> ~/.ssh/config', 'tsh config'],
  async run(input, tools) {
    await withSession(tools, input, async ({ login, client }) => {
      const { profile } = login
      const cluster = input.text('cluster')
      if (cluster !== undefined && cluster !== profile.cluster)
        throw new CommandError(
          `the login is of the cluster ${profile.cluster}, not ${cluster}`,
          EXIT.notLoggedIn,
        )
      requireSshLogin(tools, login)
      const [{ mode }, nodes] = await Promise.all([client.call('me', {}), listNodes(client)])
      const agentless = nodes.filter(({ subKind }) => subKind === 'openssh').map(({ name }) => name)
      const atProxy =
        mode === 'terminate'
          ? [`*.${profile.cluster}`]
          : agentless.map((each) => `${each}.${profile.cluster}`)
      tools.out(configText(tools, login, atProxy, programWords()))
    })
  },
}

/** This very program by whole paths: OpenSSH may run it with another PATH. Each connection starts it, so it goes the shortest way in. */
function programWords(): readonly string[] {
  return [process.execPath, ...process.execArgv, fileURLToPath(DOOR), 'tsh']
}

const DOOR = new URL('../../scripts/bin.mjs', import.meta.url)

/** `atProxy`: hosts whose sessions end at proxies, which prove themselves by the cluster's name. */
export function configText(
  tools: Tools,
  { profile }: Login,
  atProxy: readonly string[],
  program: readonly string[],
): string {
  const files = tools.profiles.sshFiles(profile)
  const { cluster, proxy } = profile
  const words = [...program, 'proxy', 'ssh', `--cluster=${cluster}`, `--proxy=${proxy}`]
  const command = [...words.map(shellWord), '%r@%h:%p'].join(' ')
  const alias =
    atProxy.length === 0
      ? []
      : [`Host ${atProxy.map(quoted).join(' ')}`, `    HostKeyAlias ${cluster}`, '']
  return [
    `# Nodes of the Sluice cluster ${cluster}, by tsh config.`,
    ...alias,
    `Host *.${cluster} ${hostOf(proxy)}`,
    `    UserKnownHostsFile ${quoted(files.knownHosts)}`,
    '    GlobalKnownHostsFile /dev/null',
    '    StrictHostKeyChecking yes',
    '    UpdateHostKeys no',
    `    IdentityFile ${quoted(files.key)}`,
    `    CertificateFile ${quoted(files.certificate)}`,
    '    IdentitiesOnly yes',
    '    PasswordAuthentication no',
    '    KbdInteractiveAuthentication no',
    '',
    `Host *.${cluster} !${hostOf(proxy)}`,
    `    ProxyCommand ${command}`,
    '',
    `Host ${hostOf(proxy)}`,
    `    Port ${splitAddress(proxy).port}`,
    '',
  ].join('\n')
}

/** For ssh_config itself: double quotes, and `%` doubled where tokens are expanded. */
function quoted(text: string): string {
  const plain = text.replaceAll('%', '%%')
  return /[\s"\\#]/.test(plain) ? `"${plain.replaceAll(/["\\]/g, '\\$&')}"` : plain
}

/** For the shell that OpenSSH gives a ProxyCommand to, behind its own tokens. */
function shellWord(text: string): string {
  const plain = text.replaceAll('%', '%%')
  return /^[\w@%+=:,./-]+$/.test(plain) ? plain : `'${plain.replaceAll("'", "'\\''")}'`
}
