// Makes a parser of a table of commands. The words and summaries are known at once; options and code of a command are loaded when
// it is the one that was typed (or when all are described: help tests, completion). Never runs anything by itself.

import { Argument, Command, CommanderError, Option as ParsedOption } from 'commander'

import { type CommandSpec, Input, type Option, type Row } from './command.ts'
import { CommandError, EXIT, type ExitStatus } from './exit.ts'
import type { Tools } from './tools.ts'

export interface ProgramSpec {
  readonly name: string
  readonly about: string
  /** Options every command takes. */
  readonly options: readonly Option[]
  /** What groups of commands are for, by their words: `db`, `db credentials`. */
  readonly groups: Readonly<Record<string, string>>
  readonly rows: readonly Row[]
}

export function buildProgram(spec: ProgramSpec, tools: Tools): Command {
  const program = new Command(spec.name).description(spec.about)
  program.configureOutput({
    writeOut: (text) => tools.out(text),
    writeErr: (text) => tools.note(text),
  })
  settle(program)
  for (const option of spec.options) program.addOption(parsed(option))
  for (const row of spec.rows) addRow(program, spec, row)
  loadWhenTyped(program, spec, tools)
  return program
}

/** Every command with its options, loaded: for completion, and for tests of the help. */
export async function describeAll(
  spec: ProgramSpec,
): Promise<readonly (Row & { readonly spec: CommandSpec })[]> {
  return await Promise.all(spec.rows.map(async (row) => ({ ...row, spec: await row.load() })))
}

/** Parses and runs. Help and version end well; a wrong command line ends with the status for usage. */
export async function runProgram(program: Command, args: readonly string[]): Promise<ExitStatus> {
  settle(program)
  try {
    await program.parseAsync([...args], { from: 'user' })
    return EXIT.ok
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    return error.exitCode === 0 ? EXIT.ok : EXIT.usage
  }
}

/** Errors are thrown instead of ending the process, for this command and those below it. */
function settle(command: Command): void {
  command.exitOverride()
  command.showHelpAfterError('(add --help for what it takes)')
  for (const inner of command.commands) settle(inner)
}

function addRow(program: Command, spec: ProgramSpec, row: Row): void {
  const words = row.words.split(' ')
  let parent = program
  for (const [at, word] of words.slice(0, -1).entries()) {
    const known = parent.commands.find((each) => each.name() === word)
    const group = words.slice(0, at + 1).join(' ')
    parent = known ?? parent.command(word).description(spec.groups[group] ?? '')
  }
  parent.command(words.at(-1) ?? '').description(row.summary)
}

function loadWhenTyped(parent: Command, spec: ProgramSpec, tools: Tools): void {
  parent.hook('preSubcommand', async (_parent, command) => {
    const words = wordsOf(command)
    const row = spec.rows.find((each) => each.words === words)
    if (row !== undefined) fill(command, await row.load(), tools)
  })
  for (const inner of parent.commands)
    if (inner.commands.length > 0) loadWhenTyped(inner, spec, tools)
}

function fill(command: Command, spec: CommandSpec, tools: Tools): void {
  for (const name of (spec.takes ?? '').split(' ').filter((each) => each !== ''))
    command.addArgument(new Argument(name))
  for (const option of spec.options ?? []) command.addOption(parsed(option))
  const examples = `\nExample${spec.examples.length > 1 ? 's' : ''}:\n${spec.examples.map((each) => `  ${each}\n`).join('')}`
  const about = spec.about === undefined ? '' : `\n${spec.about}\n`
  command.addHelpText('after', `${about}${examples}`)
  command.action(async () => {
    await spec.run(new Input(command.args, command.optsWithGlobals()), tools)
  })
}

function parsed(option: Option): ParsedOption {
  const made = new ParsedOption(option.flags, option.about)
  if (option.many === true)
    made.argParser((value: string, before: unknown) => [
      ...(Array.isArray(before) ? (before as readonly unknown[]) : []),
      value,
    ])
  if (option.choices !== undefined) made.choices([...option.choices])
  return made
}

function wordsOf(command: Command): string {
  const words: string[] = []
  for (let each: Command | null = command; each?.parent; each = each.parent)
    words.unshift(each.name())
  return words.join(' ')
}

/** `tsh` without a command it knows. */
export function unknownProgram(name: string): CommandError {
  return new CommandError(
    `"${name}" is no program of Sluice`,
    EXIT.usage,
    'Use tsh, tctl or sluice.',
  )
}
