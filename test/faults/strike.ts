// Inflicts the faults of a matrix on a running cluster: processes of roles, the connections between its parts, their disks and
// their clocks. What is protocol's own (the target) comes in as an argument. Each strike returns how to take it back.

import type { Role } from '../../cli/supervisor/messages.ts'
import { pause } from '../../workers/pause.ts'
import type { Cluster } from '../fixtures/cluster.ts'
import type { Cleanup } from '../fixtures/files.ts'
import { eventually } from './eventually.ts'
import type { FaultProxy } from './fault-proxy.ts'
import type { Cell, Part } from './matrix.ts'
import { freeze } from './processes.ts'
import type { SmallDisk } from './small-disk.ts'

/** Takes the fault back; what cannot be taken back (a kill, a cut) returns one that does nothing. */
export type Heal = () => void | Promise<void>

/** The program at the far end of a session, which is not ours. */
export interface StruckTarget {
  /** Kills what serves the session of now; whoever started the target starts that again. */
  kill(): Promise<void>
  /** Everything that serves. */
  pids(): Promise<readonly number[]>
  /** Resolves when it has seen its new time. */
  jump(offsetMs: number): Promise<void>
}

export interface Struck {
  readonly cleanup: Cleanup
  readonly cluster: Cluster
  /** Before control's API, between client and proxy, between agent and proxy, before the target. */
  readonly network: Readonly<Record<Exclude<Part, 'signer'>, FaultProxy>>
  readonly disks: Readonly<Record<Part, SmallDisk>>
  readonly target: StruckTarget
}

const RESTART_MS = 30_000
/** Several looks of every thread of a role at its offset; nothing of ours tells a stranger its time. */
const CLOCK_SEEN_MS = 200
/** Beyond the life of a login certificate, and of everything that lives for minutes. */
export const JUMP_MS: number = 13 * 60 * 60 * 1000

export async function strike(
  struck: Struck,
  { fault, part }: Pick<Cell<string>, 'fault' | 'part'>,
): Promise<Heal> {
  switch (fault) {
    case 'kill -9':
      await kill(struck, part)
      return nothing
    case 'SIGSTOP':
      return freeze(struck.cleanup, ...(await pidsOf(struck, part)))
    case 'cut':
      networkOf(struck, part).inflict({ kind: 'cut' })
      return nothing
    case 'half-close towards the client':
    case 'half-close towards the target': {
      const towardsClient = fault === 'half-close towards the client'
      // An agent dials the proxy: its near end is the one next to the target.
      const way = towardsClient === (part === 'agent') ? 'to-far' : 'to-near'
      networkOf(struck, part).inflict({ kind: 'half-close', way })
      return nothing
    }
    case 'disk full':
      struck.disks[part].fill()
      return () => struck.disks[part].free()
    case 'clock forward':
    case 'clock back':
      await jump(struck, part, fault === 'clock forward' ? JUMP_MS : -JUMP_MS)
      return () => jump(struck, part, 0)
  }
}

function nothing(): void {}

async function kill({ cluster, target }: Struck, part: Part): Promise<void> {
  if (part === 'target') return await target.kill()
  const pid = cluster.pid(part)
  process.kill(pid, 'SIGKILL')
  await eventually(() => cluster.pid(part) !== pid, RESTART_MS, `${part} is started again`)
}

async function pidsOf({ cluster, target }: Struck, part: Part): Promise<readonly number[]> {
  return part === 'target' ? await target.pids() : [cluster.pid(part)]
}

function networkOf({ network }: Struck, part: Part): FaultProxy {
  if (part === 'signer') throw new Error('the signer has no network')
  return network[part]
}

async function jump(
  { cluster, target }: Struck,
  part: Role | 'target',
  offsetMs: number,
): Promise<void> {
  if (part === 'target') return await target.jump(offsetMs)
  cluster.clocks.jump(part, offsetMs)
  await pause(CLOCK_SEEN_MS)
}
