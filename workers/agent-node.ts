// The agent's own machine as a node: what its sessions show, forbid and run programs with.

import type { NodeSwitches, SshKeyPair } from '../core/ssh/services.ts'
import type { MachineWish, OpenMachine } from './agent-stream.ts'
import type { LaunchAsk } from './launch-wire.ts'
import { LauncherClient } from './launcher-client.ts'
import type { Trust } from './trust.ts'

/** As the configuration has it. */
export interface NodeOptions {
  readonly switches: NodeSwitches
  /** Where the launcher of this machine keeps its sockets. */
  readonly launcher: string
  /** Public address of the proxy, for programs. */
  readonly webProxy: string
}

/** What a thread's sessions have of it. */
export interface AgentNode {
  readonly switches: NodeSwitches
  /** Empty until control has certified one. */
  hostKeys(): readonly SshKeyPair[]
  readonly openMachine: OpenMachine
}

export function agentNode(options: NodeOptions, agentId: string, trust: Trust): AgentNode {
  const launcher = new LauncherClient(options.launcher)
  return {
    switches: options.switches,
    hostKeys: () => trust.sshHost,
    openMachine: (wish) => Promise.resolve(launcher.machine(askFor(wish, agentId, options))),
  }
}

function askFor(
  { right, certificate, client, sessionId, proxy }: MachineWish,
  agentId: string,
  { webProxy }: NodeOptions,
): LaunchAsk {
  const { ref, labels } = right.target
  return {
    certificate,
    login: right.access.principal,
    client: { host: client.address, port: client.port },
    // The client meets the proxy: this machine has no address that it knows.
    server: { host: '', port: 0 },
    node: { name: ref.name, agentId, labels },
    sessionId,
    webProxy,
    ...(proxy === undefined ? {} : { proxy }),
  }
}
