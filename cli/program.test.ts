import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import { type CommandSpec, Input } from './command.ts'
import { EXIT } from './exit.ts'
import {
  buildProgram,
  describeAll,
  type ProgramSpec,
  runProgram,
  unknownProgram,
} from './program.ts'
import { TCTL } from './tctl/table.ts'
import { type FakeTools, fakeTools } from './tools.fixture.ts'
import { TSH } from './tsh/table.ts'

const CLI = import.meta.dirname

/** A program of two commands that keep what they were given. */
function program(): { spec: ProgramSpec; loaded: string[]; ran: Input[] } {
  const loaded: string[] = []
  const ran: Input[] = []
  const command = (takes: string): CommandSpec => ({
    takes,
    options: [
      { flags: '-n, --name <text>', about: 'a name' },
      { flags: '--many <texts>', about: 'several', many: true },
      { flags: '--kind <kind>', about: 'one of two', choices: ['a', 'b'] },
      { flags: '--yes', about: 'a flag' },
    ],
    examples: ['prog one x'],
    run(input) {
      ran.push(input)
      return Promise.resolve()
    },
  })
  const load = (words: string, takes: string) => () => {
    loaded.push(words)
    return Promise.resolve(command(takes))
  }
  const spec: ProgramSpec = {
    name: 'prog',
    about: 'a program',
    options: [{ flags: '--global <text>', about: 'for all' }],
    groups: { group: 'a group' },
    rows: [
      { words: 'one', summary: 'the first', load: load('one', '<thing>') },
      { words: 'group two', summary: 'the second', load: load('group two', '[more...]') },
    ],
  }
  return { spec, loaded, ran }
}

async function run(
  t: Parameters<typeof fakeTools>[0],
  spec: ProgramSpec,
  ...words: string[]
): Promise<{ status: number; tools: FakeTools }> {
  const tools = await fakeTools(t)
  return { status: await runProgram(buildProgram(spec, tools), words), tools }
}

for (const spec of [TSH, TCTL]) {
  test(`every command of ${spec.name} has a summary, a help and examples that name it`, async (t) => {
    const commands = await describeAll(spec)
    ok(commands.length > 10)
    for (const { words, summary, spec: command } of commands) {
      ok(summary.length > 5 && !summary.endsWith('.'), words)
      ok(command.examples.length > 0, words)
      const start = `${spec.name} ${words.split(' ')[0] ?? ''}`
      ok(
        command.examples.some((each) => each.includes(start)),
        `${words}: ${command.examples[0]}`,
      )
      const { status, tools } = await run(t, spec, ...words.split(' '), '--help')
      equal(status, EXIT.ok, words)
      match(tools.printed(), /\nExamples?:\n {2}\S/, words)
      for (const option of command.options ?? [])
        ok(option.about.length > 3, `${words} ${option.flags}`)
    }
  })

  test(`every group of ${spec.name} is told, and no command is named twice`, () => {
    const words = spec.rows.map((row) => row.words)
    equal(new Set(words).size, words.length)
    const groups = new Set(
      words.flatMap((each) => {
        const parts = each.split(' ')
        return parts.slice(1).map((_, at) => parts.slice(0, at + 1).join(' '))
      }),
    )
    deepEqual([...groups].sort(), Object.keys(spec.groups).sort())
  })
}

test('only the command that was typed is loaded', async (t) => {
  const { spec, loaded, ran } = program()
  equal((await run(t, spec, 'group', 'two', 'x')).status, EXIT.ok)
  deepEqual(loaded, ['group two'])
  deepEqual(ran[0]?.args, ['x'])
})

test('lists of commands load none of them', async (t) => {
  const { spec, loaded } = program()
  const all = await run(t, spec, '--help')
  equal(all.status, EXIT.ok)
  match(all.tools.printed(), /one\s+the first\n\s+group\s+a group/)
  const group = await run(t, spec, 'group', '--help')
  match(group.tools.printed(), /two \[[^\n]*|two\s+the second/)
  deepEqual(loaded, [])
})

test('arguments and options reach the command, common ones wherever they stand', async (t) => {
  const { spec, ran } = program()
  await run(
    t,
    spec,
    '--global',
    'g',
    'one',
    'thing',
    '-n',
    'x',
    '--many=a,b',
    '--many',
    'c',
    '--yes',
  )
  await run(t, spec, 'one', '--global=h', 'thing')
  const [first, second] = ran
  equal(first?.arg(0), 'thing')
  equal(first.text('name'), 'x')
  deepEqual(first.list('many'), ['a', 'b', 'c'])
  equal(first.flag('yes'), true)
  equal(first.text('global'), 'g')
  equal(second?.text('global'), 'h')
  equal(second.flag('yes'), false)
  deepEqual(second.list('many'), [])
})

test('a wrong command line ends with the status for it and says what is wrong', async (t) => {
  const { spec, ran } = program()
  for (const [words, said] of [
    [['one', 'x', '--nope'], /unknown option '--nope'/],
    [['one'], /missing required argument 'thing'/],
    [['one', 'a', 'b'], /too many arguments/],
    [['one', 'a', '--kind=c'], /Allowed choices are a, b/],
    [['nothing'], /unknown command 'nothing'/],
    [['group'], /Usage: prog group/],
    [[], /Usage: prog/],
  ] as const) {
    const { status, tools } = await run(t, spec, ...words)
    equal(status, EXIT.usage, words.join(' '))
    match(tools.noted(), said)
  }
  deepEqual(ran, [])
})

test('what a command throws is thrown on', async (t) => {
  const { spec } = program()
  const failing: ProgramSpec = {
    ...spec,
    rows: [
      {
        words: 'fail',
        summary: 'fails',
        load: () =>
          Promise.resolve({ examples: ['x'], run: () => Promise.reject(new Error('boom')) }),
      },
    ],
  }
  await rejects(run(t, failing, 'fail'), /boom/)
  equal(unknownProgram('x').status, EXIT.usage)
})

test('input is read as what it is, or refused', () => {
  const input = new Input(['a'], { count: '12', format: 'json', bad: '1e3' })
  equal(input.whole('count', 1, 20), 12)
  equal(input.whole('none', 1, 20), undefined)
  equal(input.choice('format', ['text', 'json'], 'text'), 'json')
  equal(input.choice('none', ['text', 'json'], 'text'), 'text')
  for (const wrong of [
    () => input.whole('count', 1, 11),
    () => input.whole('bad', 1, 10_000),
    () => input.choice('format', ['text'], 'text'),
  ])
    try {
      wrong()
      ok(false, 'was taken')
    } catch (error) {
      equal((error as { status?: number }).status, EXIT.usage)
    }
})

test('commands that need no network load no schema, no YAML, no logger and no API client', () => {
  for (const start of [
    'run-main.ts',
    'tsh/table.ts',
    'tctl/table.ts',
    'tsh/status.ts',
    'tsh/logout.ts',
  ]) {
    const reached = staticImports(path.join(CLI, start))
    ok(reached.size > 3 || start.endsWith('table.ts'))
    for (const name of [
      'zod',
      'yaml',
      'pino',
      'msgpackr',
      '@clack/prompts',
      'client.ts',
      'schema.ts',
    ])
      ok(
        ![...reached].some((each) => each === name || each.endsWith(`/${name}`)),
        `${start} reaches ${name}`,
      )
  }
})

/** Every module a file loads before it does anything: types and import() left out. */
function staticImports(file: string, seen: Set<string> = new Set()): ReadonlySet<string> {
  if (seen.has(file)) return seen
  seen.add(file)
  if (!existsSync(file)) throw new Error(`no file ${file}`)
  const text = readFileSync(file, 'utf8')
  for (const [, names = '', from = ''] of text.matchAll(/^import ([^'"]*?) ?from '([^']+)'/gm)) {
    // `import { type X }` still loads the file: only `import type` does not.
    if (/^type\b/.test(names) || from.startsWith('node:')) continue
    if (from.startsWith('.')) staticImports(path.resolve(path.dirname(file), from), seen)
    else seen.add(from)
  }
  return seen
}
