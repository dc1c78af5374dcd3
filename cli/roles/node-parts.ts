// What an agent's process has besides its threads when its machine is a node: the SSH host key, the labels that commands print, and the
// launcher, which is told of trust as control signed it. Nothing of it is there when `ssh_service` is off.

import type { ConfigFile } from '../../control/config.ts'
import { systemClock } from '../../core/clock.ts'
import type { Logger } from '../../core/log.ts'
import type { AgentOptions } from '../../workers/agent-main.ts'
import type { Announcement } from '../../workers/agent-targets.ts'
import { LauncherFeed } from '../../workers/launcher-feed.ts'
import { systemTimers } from '../../workers/timers.ts'
import type { SshHostKeys } from '../../workers/trust.ts'
import { LabelCommands } from './label-commands.ts'
import type { Member } from './member.ts'
import { nodeName, nodeSwitches } from './node.ts'
import { launcherFolder, roleFolder } from './settings.ts'
import { SshHost } from './ssh-host.ts'

export interface NodePartsOptions {
  readonly config: ConfigFile
  readonly member: Member
  readonly log: Logger
  readonly onKeys: (keys: SshHostKeys) => void
}

interface Parts {
  readonly name: string
  readonly host: SshHost
  readonly commands: LabelCommands
  readonly launcher: LauncherFeed
}

export class NodeParts {
  readonly #options: NodePartsOptions
  readonly #parts: Parts | undefined
  #changed: () => Promise<void> = () => Promise.resolve()

  constructor(options: NodePartsOptions) {
    this.#options = options
    this.#parts = options.config.ssh_service.enabled ? this.#make() : undefined
  }

  /** As commands printed them last. */
  get labels(): Readonly<Record<string, string>> {
    return this.#parts?.commands.labels ?? {}
  }

  onLabels(changed: () => Promise<void>): void {
    this.#changed = changed
  }

  async start(): Promise<void> {
    this.#parts?.launcher.start()
    await this.#parts?.commands.start()
  }

  stop(): void {
    this.#parts?.commands.stop()
    this.#parts?.host.close()
    this.#parts?.launcher.stop()
  }

  /** What the agent is made with for it. */
  agentOptions(webProxy: string): Pick<AgentOptions, 'node' | 'sshHost' | 'onSnapshot' | 'onHeld'> {
    const parts = this.#parts
    if (parts === undefined) return {}
    const { host, launcher } = parts
    const { config } = this.#options
    return {
      node: { switches: nodeSwitches(config), launcher: launcherFolder(config), webProxy },
      ...(host.keys === undefined ? {} : { sshHost: host.keys }),
      onSnapshot: ({ ssh }) => {
        if (ssh !== undefined) host.trusts(ssh.host)
      },
      onHeld: (message) => launcher.offer(message),
    }
  }

  /** Control said what this agent serves: the host key is certified for a node that is among it. */
  served({ accepted }: Announcement): void {
    const parts = this.#parts
    if (parts === undefined) return
    if (accepted.some(({ kind, name }) => kind === 'node' && name === parts.name))
      parts.host.serves(parts.name)
  }

  #make(): Parts {
    const { config, member, log, onKeys } = this.#options
    const folder = roleFolder(config, 'agent')
    const timers = systemTimers
    const changed = (): void =>
      void this.#changed().catch((error: unknown) =>
        log.warn('labels that changed were not announced', { error: String(error) }),
      )
    const launcher = { folder: launcherFolder(config), saved: member.savedTrust(), log }
    return {
      name: nodeName(config),
      host: new SshHost({
        folder,
        clock: systemClock,
        timers,
        log,
        certify: (publicKey) => member.client.call('certificate-ssh-host', { publicKey }),
        onKeys,
      }),
      commands: new LabelCommands({ commands: config.ssh_service.commands, timers, log, changed }),
      launcher: new LauncherFeed(launcher),
    }
  }
}
