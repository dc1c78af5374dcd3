// What OpenSSH knows of hosts, renewed by commands that ask control anyway.

import type { ControlClient } from '../../control/api/client.ts'
import type { Profile } from '../profile.ts'
import { hasAliases, keepAliases } from '../ssh/aliases.ts'
import type { Tools } from '../tools.ts'
import { listNodes } from './node.ts'

/** Nothing where `tsh config` never was printed. */
export async function renewAliases(
  tools: Tools,
  profile: Profile,
  client: ControlClient,
): Promise<void> {
  if (!hasAliases(tools, profile)) return
  const [{ mode }, nodes] = await Promise.all([client.call('me', {}), listNodes(client)])
  keepAliases(tools, profile, mode, nodes)
}
