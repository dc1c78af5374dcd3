// Why an expression cannot be used, and where: for whoever wrote it, so that it says what to write instead.

import { shown } from '../policy/shown.ts'

/** `problem` is a sentence without its full stop; `column` counts characters from 1. */
export interface Problem {
  readonly problem: string
  readonly column: number
}

/** Thrown inside this folder only; compile.ts turns it into a value. `at` is an index into the source. */
export class ExpressionProblem extends Error {
  readonly at: number

  constructor(at: number, problem: string) {
    super(problem)
    this.at = at
  }
}

export function problemOf(source: string, { at, message }: ExpressionProblem): Problem {
  return { problem: message, column: Array.from(source.slice(0, at)).length + 1 }
}

export function problemText({ column, problem }: Problem): string {
  return `column ${column}: ${problem}`
}

/** What was written, as it is quoted back: bounded, and nothing that a terminal obeys. */
export function quoted(text: string): string {
  return `"${shown(text)}"`
}
