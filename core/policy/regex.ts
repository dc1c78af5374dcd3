// Regular expressions without backtracking: a list of threads steps over the subject once, so the time is bounded by
// subject length × patternStepsMax. Patterns come from administrators but the subject (a database user, say) from whoever
// connects: with the engine of the language a careless `^(a+)+$` lets one client stop a worker for minutes.

import { max } from '../limits.ts'
import type { Node, Ranges } from './regex-parse.ts'
import { inRanges, isWord, parseRegex, RegexProblem } from './regex-parse.ts'

export type Instruction =
  | { readonly op: 'char'; readonly code: number }
  | { readonly op: 'class'; readonly ranges: Ranges; readonly negated: boolean }
  | { readonly op: 'assert'; readonly what: 'start' | 'end' | 'word' | 'not-word' }
  /** Tries `first` before `second`: priority decides what captures hold. */
  | { op: 'split'; first: number; second: number }
  | { op: 'jump'; to: number }
  | { readonly op: 'save'; readonly slot: number }
  | { readonly op: 'match' }

export interface Regex {
  readonly program: readonly Instruction[]
  readonly groups: number
  readonly names: ReadonlyMap<string, number>
  readonly foldCase: boolean
  /** Begins with ^, so a match can only begin at the start. */
  readonly anchored: boolean
  /** Text every match of an anchored expression begins with: most subjects are told apart by it alone. */
  readonly head: string
  readonly scratch: Scratch
}

/** Room to match in, kept between calls: matching is synchronous and makes no garbage. */
interface Scratch {
  now: Int32Array
  later: Int32Array
  /** The mark of the step at which an instruction was last added. */
  readonly seen: Int32Array
  mark: number
}

/** Compiled, or the reason why not, as the end of a sentence that begins with the expression. */
export function compileRegex(source: string): Regex | { readonly problem: string } {
  try {
    const { node, groups, names, foldCase } = parseRegex(source)
    const emitter: Emitter = { program: [], work: 0 }
    emit(emitter, { kind: 'group', index: 0, node })
    push(emitter, { op: 'match' })
    const { program } = emitter
    const [, first] = program
    const anchored = first?.op === 'assert' && first.what === 'start'
    const head = anchored && !foldCase ? literalHead(program) : ''
    return { program, groups, names, foldCase, anchored, head, scratch: newScratch(program.length) }
  } catch (error) {
    if (error instanceof RegexProblem) return { problem: error.message }
    throw error
  }
}

/** Whether the expression occurs in the subject; anchors are part of the expression. */
export function testRegex(regex: Regex, subject: string): boolean {
  if (subject.length > max('matchSubjectMax') || !subject.startsWith(regex.head)) return false
  const { program, foldCase, anchored, scratch } = regex
  if (scratch.mark > MARK_MAX) forgetMarks(scratch)
  let count = 0
  for (let place = 0; ; ) {
    // Threads that live came from the step before under the same mark, so a start of our own adds only what is new.
    if (place === 0) scratch.mark++
    if (place === 0 || !anchored) count = add(regex, subject, scratch.now, count, 0, place)
    if (count < 0) return true
    const code = subject.codePointAt(place)
    if (code === undefined || (anchored && count === 0)) return false
    const next = place + (code > 0xffff ? 2 : 1)
    scratch.mark++
    let kept = 0
    for (let i = 0; i < count && kept >= 0; i++) {
      const at = scratch.now[i] ?? 0
      const instruction = program[at]
      if (instruction !== undefined && accepts(instruction, code, foldCase))
        kept = add(regex, subject, scratch.later, kept, at + 1, next)
    }
    const { now } = scratch
    scratch.now = scratch.later
    scratch.later = now
    count = kept
    place = next
    if (count < 0) return true
  }
}

/** Whether an instruction takes the character. */
export function accepts(instruction: Instruction, code: number, foldCase: boolean): boolean {
  if (step(instruction, code)) return true
  if (!foldCase) return false
  const char = String.fromCodePoint(code)
  return (
    step(instruction, char.toLowerCase().codePointAt(0) ?? code) ||
    step(instruction, char.toUpperCase().codePointAt(0) ?? code)
  )
}

function step(instruction: Instruction, code: number): boolean {
  if (instruction.op === 'char') return instruction.code === code
  if (instruction.op !== 'class') return false
  return inRanges(instruction.ranges, code) !== instruction.negated
}

/** Whether a place in the subject is what an anchor asks for. */
export function holds(
  what: 'start' | 'end' | 'word' | 'not-word',
  place: number,
  before: number | undefined,
  after: number | undefined,
): boolean {
  if (what === 'start') return place === 0
  if (what === 'end') return after === undefined
  const edge = isWord(before ?? -1) !== isWord(after ?? -1)
  return what === 'word' ? edge : !edge
}

/** -1 for the number of threads: the end of the expression is reached. */
const MATCHED = -1

/** Adds the instructions reachable from `at` without taking a character; returns how many there are now. */
function add(
  regex: Regex,
  subject: string,
  list: Int32Array,
  count: number,
  at: number,
  place: number,
): number {
  const { scratch } = regex
  if (count < 0 || scratch.seen[at] === scratch.mark) return count
  scratch.seen[at] = scratch.mark
  const instruction = regex.program[at]
  switch (instruction?.op) {
    case 'jump':
      return add(regex, subject, list, count, instruction.to, place)
    case 'split': {
      const first = add(regex, subject, list, count, instruction.first, place)
      return add(regex, subject, list, first, instruction.second, place)
    }
    case 'save':
      return add(regex, subject, list, count, at + 1, place)
    case 'assert':
      return holds(instruction.what, place, unit(subject, place - 1), unit(subject, place))
        ? add(regex, subject, list, count, at + 1, place)
        : count
    case 'match':
      return MATCHED
    case 'char':
    case 'class':
    case undefined:
      list[count] = at
      return count + 1
  }
}

/** Half of a pair is no word character either. */
function unit(subject: string, place: number): number | undefined {
  return place >= 0 && place < subject.length ? subject.charCodeAt(place) : undefined
}

/** Marks fit into 32 bits only as long as they are small; one subject adds at most matchSubjectMax. */
const MARK_MAX = 2 ** 30

function forgetMarks(scratch: Scratch): void {
  scratch.seen.fill(0)
  scratch.mark = 0
}

function newScratch(size: number): Scratch {
  const room = (): Int32Array => new Int32Array(size)
  return { now: room(), later: room(), seen: room(), mark: 0 }
}

/** The characters behind the leading ^, up to the first instruction that is none. */
function literalHead(program: readonly Instruction[]): string {
  let head = ''
  for (let at = 2; ; at++) {
    const instruction = program[at]
    if (instruction?.op !== 'char') return head
    head += String.fromCodePoint(instruction.code)
  }
}

interface Emitter {
  readonly program: Instruction[]
  /** Nodes visited: `(?:(?:){1000}){1000}` makes no instruction and would otherwise keep us for ever. */
  work: number
}

function push(emitter: Emitter, instruction: Instruction): number {
  if (emitter.program.length >= max('patternStepsMax')) throw new RegexProblem('it is too large')
  return emitter.program.push(instruction) - 1
}

function emit(emitter: Emitter, node: Node): void {
  if (++emitter.work > 4 * max('patternStepsMax')) throw new RegexProblem('it is too large')
  switch (node.kind) {
    case 'char':
      push(emitter, { op: 'char', code: node.code })
      return
    case 'class':
      push(emitter, { op: 'class', ranges: node.ranges, negated: node.negated })
      return
    case 'assert':
      push(emitter, { op: 'assert', what: node.what })
      return
    case 'sequence':
      for (const part of node.parts) emit(emitter, part)
      return
    case 'choice':
      emitChoice(emitter, node.options)
      return
    case 'group':
      push(emitter, { op: 'save', slot: node.index * 2 })
      emit(emitter, node.node)
      push(emitter, { op: 'save', slot: node.index * 2 + 1 })
      return
    case 'repeat':
      for (let i = 0; i < node.min; i++) emit(emitter, node.node)
      if (node.max === undefined) emitStar(emitter, node.node, node.lazy)
      else for (let i = node.min; i < node.max; i++) emitOptional(emitter, node.node, node.lazy)
  }
}

function emitChoice(emitter: Emitter, options: readonly Node[]): void {
  const jumps: { op: 'jump'; to: number }[] = []
  options.forEach((option, i) => {
    const last = i === options.length - 1
    const split = { op: 'split' as const, first: emitter.program.length + 1, second: 0 }
    if (!last) push(emitter, split)
    emit(emitter, option)
    if (last) return
    const jump = { op: 'jump' as const, to: 0 }
    jumps.push(jump)
    push(emitter, jump)
    split.second = emitter.program.length
  })
  for (const jump of jumps) jump.to = emitter.program.length
}

function emitStar(emitter: Emitter, node: Node, lazy: boolean): void {
  const split = { op: 'split' as const, first: 0, second: 0 }
  const start = push(emitter, split)
  emit(emitter, node)
  push(emitter, { op: 'jump', to: start })
  aim(split, start + 1, emitter.program.length, lazy)
}

function emitOptional(emitter: Emitter, node: Node, lazy: boolean): void {
  const split = { op: 'split' as const, first: 0, second: 0 }
  const start = push(emitter, split)
  emit(emitter, node)
  aim(split, start + 1, emitter.program.length, lazy)
}

function aim(
  split: { first: number; second: number },
  into: number,
  past: number,
  lazy: boolean,
): void {
  split.first = lazy ? past : into
  split.second = lazy ? into : past
}
