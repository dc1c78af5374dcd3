// Regular expressions without backtracking: a list of threads steps over the subject once, so the time is bounded by
// subject length × patternStepsMax. Patterns come from administrators but the subject (a database user, say) from whoever
// connects: with the engine of the language a careless `^(a+)+$` lets one client stop a worker for minutes.

import { max } from '../limits.ts'
import type { Node, Ranges } from './regex-parse.ts'
import { inRanges, isWord, parseRegex, RegexProblem } from './regex-parse.ts'

type Instruction =
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
}

/** Compiled, or the reason why not, as the end of a sentence that begins with the expression. */
export function compileRegex(source: string): Regex | { readonly problem: string } {
  try {
    const { node, groups, names, foldCase } = parseRegex(source)
    const emitter: Emitter = { program: [], work: 0 }
    emit(emitter, { kind: 'group', index: 0, node })
    push(emitter, { op: 'match' })
    return { program: emitter.program, groups, names, foldCase }
  } catch (error) {
    if (error instanceof RegexProblem) return { problem: error.message }
    throw error
  }
}

/** Whether the expression occurs in the subject; anchors are part of the expression. */
export function testRegex(regex: Regex, subject: string): boolean {
  if (subject.length > max('matchSubjectMax')) return false
  return search(regex, codePoints(subject), 0, false) !== undefined
}

/**
 * Every match replaced; undefined when there is none. `$1`, `${1}` and `${name}` stand for groups, `$$` for a dollar sign,
 * an unknown group for nothing (the rules of Go's regexp, which the reference product's users write for).
 */
export function replaceRegex(regex: Regex, subject: string, by: string): string | undefined {
  if (subject.length > max('matchSubjectMax')) return undefined
  const codes = codePoints(subject)
  let out = ''
  let from = 0
  let found = false
  while (from <= codes.length) {
    const slots = search(regex, codes, from, true)
    if (slots === undefined) break
    found = true
    const [start = 0, end = 0] = slots
    out += text(codes, from, start) + expand(regex, codes, slots, by)
    // An empty match moves on by one character, or the loop would stand still.
    if (end === start) out += text(codes, end, end + 1)
    from = end === start ? end + 1 : end
  }
  return found ? out + text(codes, from, codes.length) : undefined
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

type Slots = readonly number[]

interface Threads {
  readonly at: number[]
  readonly slots: (Slots | undefined)[]
  /** Step at which an instruction was last added: a thread per instruction, never two. */
  readonly seen: Int32Array
}

/** Leftmost match from `from` on, by priority; its capture slots, or undefined. Without captures any match will do. */
function search(
  regex: Regex,
  codes: readonly number[],
  from: number,
  captures: boolean,
): Slots | undefined {
  const { program, foldCase } = regex
  const size = program.length
  let now: Threads = { at: [], slots: [], seen: new Int32Array(size).fill(-1) }
  let then: Threads = { at: [], slots: [], seen: new Int32Array(size).fill(-1) }
  let best: Slots | undefined
  for (let place = from; place <= codes.length; place++) {
    if (best === undefined) follow(program, now, 0, place, codes, captures ? [] : undefined)
    const code = codes[place]
    for (let i = 0; i < now.at.length; i++) {
      const at = now.at[i] ?? 0
      const slots = now.slots[i]
      const instruction = program[at]
      if (instruction?.op === 'match') {
        if (slots === undefined) return []
        best = slots
        break
      }
      if (code !== undefined && instruction !== undefined && accepts(instruction, code, foldCase))
        follow(program, then, at + 1, place + 1, codes, slots)
    }
    ;[now, then] = [then, now]
    then.at.length = 0
    then.slots.length = 0
    if (now.at.length === 0 && best !== undefined) break
  }
  return best
}

/** Adds every instruction reachable from `at` without taking a character. The stack is bounded by the program's size. */
function follow(
  program: readonly Instruction[],
  threads: Threads,
  at: number,
  place: number,
  codes: readonly number[],
  slots: Slots | undefined,
): void {
  if (threads.seen[at] === place) return
  threads.seen[at] = place
  const instruction = program[at]
  switch (instruction?.op) {
    case 'jump':
      follow(program, threads, instruction.to, place, codes, slots)
      return
    case 'split':
      follow(program, threads, instruction.first, place, codes, slots)
      follow(program, threads, instruction.second, place, codes, slots)
      return
    case 'save': {
      const saved = slots === undefined ? undefined : [...slots]
      if (saved !== undefined) saved[instruction.slot] = place
      follow(program, threads, at + 1, place, codes, saved)
      return
    }
    case 'assert':
      if (holds(instruction.what, place, codes))
        follow(program, threads, at + 1, place, codes, slots)
      return
    case 'char':
    case 'class':
    case 'match':
      threads.at.push(at)
      threads.slots.push(slots)
      return
    case undefined:
      return
  }
}

function holds(
  what: 'start' | 'end' | 'word' | 'not-word',
  place: number,
  codes: readonly number[],
): boolean {
  if (what === 'start') return place === 0
  if (what === 'end') return place === codes.length
  const edge = isWord(codes[place - 1] ?? -1) !== isWord(codes[place] ?? -1)
  return what === 'word' ? edge : !edge
}

function accepts(instruction: Instruction, code: number, foldCase: boolean): boolean {
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

function expand(regex: Regex, codes: readonly number[], slots: Slots, by: string): string {
  return by.replace(/\$(?:\$|(\w+)|\{(\w+)\})/g, (whole, plain?: string, braced?: string) => {
    if (whole === '$$') return '$'
    const name = plain ?? braced ?? ''
    const index = /^\d+$/.test(name) ? Number(name) : (regex.names.get(name) ?? -1)
    const start = slots[index * 2]
    const end = slots[index * 2 + 1]
    return start === undefined || end === undefined ? '' : text(codes, start, end)
  })
}

function codePoints(subject: string): number[] {
  return Array.from(subject, (char) => char.codePointAt(0) ?? 0)
}

function text(codes: readonly number[], from: number, to: number): string {
  return String.fromCodePoint(...codes.slice(from, to))
}
