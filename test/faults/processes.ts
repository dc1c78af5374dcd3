// Faults of processes: killed, stopped and continued by pid. A stopped one is continued at the end whatever happens, because a
// stopped process does not obey SIGTERM. Nothing here looks for processes by name.

import { readdirSync, readFileSync } from 'node:fs'

import { atEnd, type Cleanup } from '../fixtures/files.ts'
import { alive } from '../fixtures/processes.ts'

/** SIGSTOP to all of them; the returned function continues them. */
export function freeze(cleanup: Cleanup, ...pids: readonly number[]): () => void {
  let frozen = true
  const thaw = (): void => {
    if (!frozen) return
    frozen = false
    for (const pid of pids) if (alive(pid)) process.kill(pid, 'SIGCONT')
  }
  atEnd(cleanup, thaw)
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  return thaw
}

/** Pids of the processes that this one started and that are still there. */
export function childrenOf(pid: number): readonly number[] {
  const lists = readdirSync(`/proc/${pid}/task`).map((task) => {
    try {
      return readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8')
    } catch {
      // The thread has ended since.
      return ''
    }
  })
  return lists.join(' ').split(' ').filter(Boolean).map(Number)
}
