// Command lines that hold another one: `tsh ssh web-1 ls -d /`. The parser takes options wherever they stand, so what follows the
// first argument of such a command is put behind `--`. Options right behind the host are ours still, as OpenSSH has it.

import type { Option } from './command.ts'
import type { ProgramSpec } from './program.ts'

/** The words as the parser is to have them; most command lines as they are. */
export async function settleWords(
  spec: ProgramSpec,
  args: readonly string[],
): Promise<readonly string[]> {
  const at = takeOptions(spec.options, args, 0)
  const row = spec.rows.find(({ words }) => words === args[at])
  if (row?.foreignWords !== true) return args
  const known = [...spec.options, ...((await row.load()).options ?? [])]
  const first = takeOptions(known, args, at + 1)
  const argument = args[first]
  if (argument === undefined) return args
  // A `--` before it has said that options are over.
  if (args[first - 1] === '--') return args
  const rest = takeOptions(known, args, first + 1)
  const behind = args[rest - 1] === '--' ? rest - 1 : rest
  const options = args.slice(first + 1, behind)
  return [...args.slice(0, first), ...options, '--', argument, ...args.slice(rest)]
}

/** The index behind options that begin at `from`; a `--` is taken with them. */
function takeOptions(options: readonly Option[], args: readonly string[], from: number): number {
  let at = from
  for (let word = args[at]; word?.startsWith('-') === true && word !== '-'; word = args[at]) {
    at += 1
    if (word === '--') break
    if (wantsValue(options, word)) at += 1
  }
  return at
}

/** Whether the next word is this one's value. `-Ap` wants one if `-p` does; `-p22` and `--port=22` have theirs. */
function wantsValue(options: readonly Option[], word: string): boolean {
  const takes = (name: string): boolean =>
    options.some(({ flags }) => flags.includes('<') && flags.split(/[ ,]+/).includes(name))
  if (word.startsWith('--')) return takes(word)
  const letters = word.slice(1).split('')
  const found = letters.findIndex((letter) => takes(`-${letter}`))
  return found >= 0 && found === letters.length - 1
}
