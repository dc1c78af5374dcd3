// What a command is: its words in a table, and a file loaded only when it runs, so that `tsh status` pays for nothing else.
// program.ts makes a parser of both. A command touches the world through Tools alone.

import { CommandError, EXIT } from './exit.ts'
import type { Tools } from './tools.ts'

/** A row of a table of commands. */
export interface Row {
  /** The words, as typed: `db login`. */
  readonly words: string
  /** One line, shown in the list of commands. */
  readonly summary: string
  /** What follows the first argument is a command line of its own: options in it are not ours. */
  readonly foreignWords?: true
  readonly load: () => Promise<CommandSpec>
}

export interface Option {
  /** `-u, --db-user <name>`: as the help shows it. */
  readonly flags: string
  readonly about: string
  /** May be given several times. */
  readonly many?: true
  readonly choices?: readonly string[]
}

export interface CommandSpec {
  /** Arguments as the help shows them: `<name> [labels...]`. */
  readonly takes?: string
  readonly options?: readonly Option[]
  /** More than the summary says; shown below the options. */
  readonly about?: string
  /** Whole lines a person can type. */
  readonly examples: readonly string[]
  run(input: Input, tools: Tools): Promise<void>
}

/** The words behind a command, as parsed. Options are asked for by their long name without dashes. */
export class Input {
  readonly args: readonly string[]
  readonly #options: Readonly<Record<string, unknown>>

  constructor(args: readonly string[], options: Readonly<Record<string, unknown>> = {}) {
    this.args = args
    this.#options = options
  }

  /** The argument at `at`; the parser has checked that required ones are there. */
  arg(at: number): string {
    return this.args[at] ?? ''
  }

  text(name: string): string | undefined {
    const value = this.#options[camel(name)]
    return typeof value === 'string' ? value : undefined
  }

  flag(name: string): boolean {
    return this.#options[camel(name)] === true
  }

  /** Whether `--no-NAME` was given. */
  without(name: string): boolean {
    return this.#options[camel(name)] === false
  }

  /** Values of an option that may be repeated, or hold several with commas. */
  list(name: string): readonly string[] {
    const value = this.#options[camel(name)]
    const given: readonly unknown[] = Array.isArray(value) ? value : [value]
    return given
      .flatMap((each) => (typeof each === 'string' ? each.split(',') : []))
      .map((each) => each.trim())
      .filter((each) => each !== '')
  }

  /** Values of an option that may be repeated, each as it was given. */
  many(name: string): readonly string[] {
    const value = this.#options[camel(name)]
    const given: readonly unknown[] = Array.isArray(value) ? value : [value]
    return given.filter((each) => typeof each === 'string')
  }

  choice<T extends string>(name: string, known: readonly T[], otherwise: T): T {
    const value = this.text(name)
    if (value === undefined) return otherwise
    const found = known.find((each) => each === value)
    if (found === undefined) throw usage(`--${name} is one of ${known.join(', ')}`)
    return found
  }

  whole(name: string, least: number, most: number): number | undefined {
    const value = this.text(name)
    if (value === undefined) return undefined
    const number = /^\d{1,10}$/.test(value) ? Number(value) : Number.NaN
    if (number >= least && number <= most) return number
    throw usage(`--${name} is a whole number from ${least} to ${most}`)
  }
}

export function usage(message: string, next?: string): CommandError {
  return new CommandError(message, EXIT.usage, next)
}

/** The option lists share: `--format`. */
export function formatOption(formats: readonly string[] = ['text', 'json', 'yaml']): Option {
  return { flags: '-f, --format <format>', about: formats.join(', '), choices: formats }
}

function camel(name: string): string {
  return name.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())
}
