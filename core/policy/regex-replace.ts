// Replacing with groups, for templates. The same steps as regex.ts, but each thread carries what its groups hold; slower, and
// only needed where a role rewrites a trait.

import { max } from '../limits.ts'
import type { Instruction, Regex } from './regex.ts'
import { accepts, holds } from './regex.ts'

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
    const slots = search(regex, codes, from)
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

type Slots = readonly number[]

interface Threads {
  readonly at: number[]
  readonly slots: Slots[]
  /** Step at which an instruction was last added: a thread per instruction, never two. */
  readonly seen: Int32Array
}

/** Leftmost match from `from` on, by priority; its capture slots, or undefined. */
function search(regex: Regex, codes: readonly number[], from: number): Slots | undefined {
  const { program, foldCase } = regex
  const size = program.length
  let now: Threads = { at: [], slots: [], seen: new Int32Array(size).fill(-1) }
  let then: Threads = { at: [], slots: [], seen: new Int32Array(size).fill(-1) }
  let best: Slots | undefined
  for (let place = from; place <= codes.length; place++) {
    if (best === undefined) follow(program, now, 0, place, codes, [])
    const code = codes[place]
    for (let i = 0; i < now.at.length; i++) {
      const at = now.at[i] ?? 0
      const slots = now.slots[i] ?? []
      const instruction = program[at]
      if (instruction?.op === 'match') {
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
  slots: Slots,
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
      const saved = [...slots]
      saved[instruction.slot] = place
      follow(program, threads, at + 1, place, codes, saved)
      return
    }
    case 'assert':
      if (holds(instruction.what, place, codes[place - 1], codes[place]))
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
