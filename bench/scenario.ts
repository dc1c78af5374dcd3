// What a bench consists of: scenarios that yield figures, each with the design's budget beside it. Load runs in processes of its
// own, so that the CPU of the process under test is measured alone; CPU per byte and per operation is the robust figure here.

import { fork, type ChildProcess } from 'node:child_process'
import { readFileSync } from 'node:fs'

export interface Figure {
  readonly name: string
  readonly value: number
  readonly unit: string
  /** The budget of design section 11, in words; and whether this run keeps it. */
  readonly budget?: string
  readonly kept?: boolean
  readonly note?: string
}

export interface Scenario {
  readonly name: string
  /** Names what is missing instead of leaving it out in silence. */
  readonly run: () => Promise<readonly Figure[]>
}

// sysconf(_SC_CLK_TCK) is 100 on every Linux that Node supports.
const TICKS_PER_SECOND = 100

/** CPU seconds of a process and all its threads so far. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
  // The name in brackets may hold spaces; utime and stime are fields 14 and 15.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
}

export interface Part {
  readonly pid: number
  /** Numbers the part said it is ready with: ports. */
  readonly said: readonly number[]
  readonly stop: () => Promise<void>
}

/** Starts a part (an entry file of this folder) and waits for its one message of numbers. `flags`: of Node, beside those of the bench. */
export async function startPart(
  file: string,
  args: readonly (string | number)[],
  flags: readonly string[] = [],
): Promise<Part> {
  const execArgv = [...process.execArgv, ...flags]
  const child = fork(new URL(file, import.meta.url), args.map(String), {
    stdio: 'inherit',
    execArgv,
  })
  const said = await firstMessage(child, file)
  const { pid } = child
  if (pid === undefined) throw new Error(`${file} has no process`)
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const stop = (): Promise<void> => {
    child.kill('SIGKILL')
    return exited
  }
  return { pid, said, stop }
}

/** Runs a part to its end; resolves with the numbers it said. */
export async function runPart(
  file: string,
  args: readonly (string | number)[],
): Promise<readonly number[]> {
  const part = await startPart(file, args)
  await part.stop()
  return part.said
}

/** The middle value; of an even number of them the lower one. */
export function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? Number.NaN
}

/** Rounded to what such a measurement can say. */
export function round(value: number): number {
  return Number(value.toPrecision(3))
}

function firstMessage(child: ChildProcess, file: string): Promise<readonly number[]> {
  return new Promise((resolve, reject) => {
    child.once('message', (message) => {
      const numbers: unknown[] = Array.isArray(message) ? message : []
      resolve(numbers.filter((value) => typeof value === 'number'))
    })
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`${file} ended with ${code} before it spoke`)))
  })
}
