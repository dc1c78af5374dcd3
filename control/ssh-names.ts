// Whose an SSH host name is. Everything that one CA certifies shares one space of names, so whoever has a name keeps it from the
// others: an agent's node must not be called as a proxy is or by another agent's id, nor a proxy as a node is.

import { SYSTEM_ID } from '../core/cert/identity.ts'
import type { Directory } from './directory.ts'

/** Why a node may not be called so, as the end of a sentence. `name`: as its owner writes it, without the cluster. */
export function nodeNameTaken(
  directory: Pick<Directory, 'hosts'>,
  cluster: string,
  name: string,
): string | undefined {
  if (SYSTEM_ID.test(name.split('.')[0] ?? '')) return `"${name}" could be the id of an agent`
  const proxy = [...directory.hosts()].find(
    ({ publicName }) => publicName === name || publicName === `${name}.${cluster}`,
  )
  if (name === cluster || proxy !== undefined) return `"${name}" is a name of the proxies`
  return undefined
}

/** Whether a node, with an agent or without, answers to this host name. */
export function isNodeName(
  directory: Pick<Directory, 'target'>,
  cluster: string,
  host: string,
): boolean {
  const below = `.${cluster}`
  const inner = host.endsWith(below) ? host.slice(0, -below.length) : host
  return [host, inner].some((name) => directory.target('node', name) !== undefined)
}
