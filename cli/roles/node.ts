// What this machine is as a node (`ssh_service`): its name, its labels, and the switches that hold for everybody. Pure functions of the
// configuration.

import type { ConfigFile } from '../../control/config.ts'
import type { AnnouncedTarget } from '../../core/agent-target.ts'
import { ProxyError } from '../../core/errors.ts'
import { nodeNameProblem } from '../../core/policy/names.ts'
import type { NodeSwitches } from '../../core/ssh/services.ts'
import { hostname } from './settings.ts'

/** A node is called by one DNS label: as configured, or the first of this machine's own name. */
export function nodeName(config: ConfigFile): string {
  const configured = config.sluice.nodename
  const name = configured ?? hostname(config).split('.', 1)[0] ?? ''
  const problem = nodeNameProblem(name.toLowerCase())
  if (problem === undefined) return name.toLowerCase()
  const what = configured === undefined ? 'this machine’s host name' : '`nodename`'
  throw new ProxyError('config.invalid', `${what} cannot be a node’s: ${problem}`, {
    next: 'Set `nodename` in sluice.yaml.',
  })
}

/** Nothing when the machine is no node. `commanded`: labels that commands printed; the file's own win over them. */
export function announcedNode(
  config: ConfigFile,
  commanded: Readonly<Record<string, string>>,
): readonly AnnouncedTarget[] {
  if (!config.ssh_service.enabled) return []
  const labels = { ...commanded, ...config.ssh_service.labels }
  return [{ ref: { kind: 'node', name: nodeName(config) }, protocol: 'ssh', labels }]
}

export function nodeSwitches({ ssh_service: ssh }: ConfigFile): NodeSwitches {
  return {
    fileCopy: ssh.ssh_file_copy,
    portForwarding: ssh.port_forwarding,
    x11: ssh.x11.enabled,
  }
}
