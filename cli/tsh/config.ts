// `tsh config`: what OpenSSH's ssh, scp, sftp and everything built on them need to reach nodes with the person's login: whom to trust,
// what to prove with, which way to go. Text for ~/.ssh/config; nothing is written. Words that ssh_config would read otherwise are quoted.

import path from 'node:path'
import { fileURLToPath } from 'node:url'

import type { CommandSpec } from '../command.ts'
import { CommandError, EXIT } from '../exit.ts'
import { hostOf, readText } from '../profile.ts'
import { aliasText } from '../ssh/aliases.ts'
import { configWord, shellWord } from '../ssh/config-word.ts'
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
    'Add it to ~/.ssh/config once; then `ssh login@node.CLUSTER` works, and scp, sftp, rsync, git',
    'and Ansible with it. It holds for later logins too. Which hosts prove themselves by the cluster’s name lies in a file that it',
    'includes; tsh login, ls, ssh and scp renew that when the recording mode has changed or servers without an agent have come.',
  ].join('\n'),
  examples: ['tsh config >> ~/.ssh/config', 'tsh config'],
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
      const aliases = aliasText(profile.cluster, mode, nodes)
      tools.profiles.put(tools.profiles.sshFiles(profile).aliases, aliases)
      tools.out(configText(tools, login, programWords(tools)))
    })
  },
}

/**
 * This very program by whole paths: OpenSSH may run it with another PATH. Each connection starts it, so it goes the shortest way in.
 * Where logins lie is part of it: what starts ssh later may not have our environment.
 */
function programWords({ env }: Tools): readonly string[] {
  const home = env['SLUICE_HOME'] ?? env['TELEPORT_HOME']
  const setting = home === undefined ? [] : ['env', `SLUICE_HOME=${path.resolve(home)}`]
  return [...setting, process.execPath, ...process.execArgv, fileURLToPath(DOOR), 'tsh']
}

/** OpenSSH before 10 prefers counter modes, which cost a hash more for each byte at both ends. */
const CIPHERS = 'aes128-gcm@openssh.com,aes256-gcm@openssh.com'

const DOOR = new URL('../../scripts/bin.mjs', import.meta.url)

export function configText(tools: Tools, { profile }: Login, program: readonly string[]): string {
  const files = tools.profiles.sshFiles(profile)
  const { cluster, proxy } = profile
  const words = [...program, 'proxy', 'ssh', `--cluster=${cluster}`, `--proxy=${proxy}`]
  const command = [...words.map(shellWord), '%r@%h:%p'].join(' ')
  return [
    `# Nodes of the Sluice cluster ${cluster}, by tsh config.`,
    ...included(files.aliases),
    `Host *.${cluster} ${hostOf(proxy)}`,
    `    UserKnownHostsFile ${configWord(files.knownHosts)}`,
    '    GlobalKnownHostsFile /dev/null',
    '    StrictHostKeyChecking yes',
    '    UpdateHostKeys no',
    `    Ciphers ${CIPHERS}`,
    `    IdentityFile ${configWord(files.key)}`,
    `    CertificateFile ${configWord(files.certificate)}`,
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

/** Names of files are patterns to Include, and some releases of OpenSSH expand tokens in them: then its lines stand here as they are now. */
function included(file: string): readonly string[] {
  // Behind another's Host line an Include would hold for that host alone.
  if (/^[\w@+=:,./-]+$/.test(file)) return ['Match all', `    Include ${file}`, '']
  return [readText(file)?.trimEnd() ?? '', '']
}
