// Finds in the log what hosts told of sessions that have two sides (core/audit/pairing.ts). Reads backwards, within a bound of bytes,
// and parses only lines that can be meant. Writes nothing.

import { readLine } from '../../core/audit/chain.ts'
import { type Half, halfOf } from '../../core/audit/pairing.ts'
import { SYSTEM_ROLES } from '../../core/identity.ts'
import { firstDayOf, type LogFile, readLinesBackwards } from './files.ts'

/** Codes of events by which a session appears, as they stand in a line. */
const BEGINS = /"code":"(?:SLR001I|SLR003[IW]|TDB00[IW])"/

/** Newest first. */
export async function* readHalves(
  files: readonly LogFile[],
  durableBytes: (file: LogFile) => number,
  fromMs: number,
  bytesMax: number,
): AsyncGenerator<Half, void> {
  const firstDay = firstDayOf(fromMs)
  let scanned = 0
  for (const file of files.toReversed()) {
    if (file.day < firstDay) return
    for await (const line of readLinesBackwards(file.path, durableBytes(file))) {
      scanned += line.length
      if (scanned > bytesMax) return
      const half = BEGINS.test(line) ? halfIn(line) : undefined
      if (half !== undefined) yield half
    }
  }
}

function halfIn(line: string): Half | undefined {
  const event: Readonly<Record<string, unknown>> | undefined = readLine(line)?.event
  const emitter = event?.['emitter']
  if (event === undefined || typeof emitter !== 'object' || emitter === null) return undefined
  const { id, role }: Partial<Record<string, unknown>> = { ...emitter }
  const known = SYSTEM_ROLES.find((each) => each === role)
  return typeof id !== 'string' || known === undefined
    ? undefined
    : halfOf(event, { id, role: known })
}
