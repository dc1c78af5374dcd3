// Hosts that prove themselves by the cluster's name and not by their own, since their sessions end at proxies: all of them, or the
// servers without an agent, as the recording mode says. OpenSSH reads it from a file of its own that `tsh config` includes, so that
// what is in ~/.ssh/config holds in every mode. Written from what control says, end to end, and from nothing a proxy could say.

import { existsSync } from 'node:fs'

import type { SessionMode } from '../../core/login.ts'
import type { Node } from '../../control/api/messages.ts'
import { type Profile, readText } from '../profile.ts'
import type { Tools } from '../tools.ts'
import { configWord } from './config-word.ts'

export function aliasText(cluster: string, mode: SessionMode, nodes: readonly Node[]): string {
  const agentless = nodes.filter(({ subKind }) => subKind === 'openssh')
  const hosts =
    mode === 'terminate' ? [`*.${cluster}`] : agentless.map(({ name }) => `${name}.${cluster}`)
  if (hosts.length === 0) return '# Every node proves itself by its own name.\n'
  return `Host ${hosts.map(configWord).join(' ')}\n    HostKeyAlias ${cluster}\n`
}

/** Keeps what `tsh config` wrote as control says it now. Nothing where no configuration was ever printed. */
export function keepAliases(
  { profiles }: Tools,
  profile: Profile,
  mode: SessionMode,
  nodes: readonly Node[],
): void {
  const file = profiles.sshFiles(profile).aliases
  const text = aliasText(profile.cluster, mode, nodes)
  if (hasAliases({ profiles }, profile) && readText(file) !== text) profiles.put(file, text)
}

/** Whether a configuration was ever printed here. */
export function hasAliases({ profiles }: Pick<Tools, 'profiles'>, profile: Profile): boolean {
  return existsSync(profiles.sshFiles(profile).aliases)
}
