import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'

import type { CommandSpec, Input } from './command.ts'
import { settleWords } from './foreign-words.ts'
import { buildProgram, type ProgramSpec, runProgram } from './program.ts'
import { fakeTools } from './tools.fixture.ts'

/** A program with one command of each kind. */
function program(): { spec: ProgramSpec; ran: Input[] } {
  const ran: Input[] = []
  const command: CommandSpec = {
    takes: '<host> [command...]',
    options: [
      { flags: '-p, --port <port>', about: 'a value' },
      { flags: '-L, --forward <spec>', about: 'values', many: true },
      { flags: '-t, --tty', about: 'a flag' },
      { flags: '-A, --agent', about: 'a flag' },
    ],
    examples: [],
    run: (input) => Promise.resolve(void ran.push(input)),
  }
  const load = (): Promise<CommandSpec> => Promise.resolve(command)
  return {
    ran,
    spec: {
      name: 'prog',
      about: 'a program',
      options: [
        { flags: '-d, --debug', about: 'a flag' },
        { flags: '--proxy <address>', about: 'a value' },
      ],
      groups: {},
      rows: [
        { words: 'ssh', summary: 'foreign', foreignWords: true, load },
        { words: 'plain', summary: 'plain', load },
      ],
    },
  }
}

test('what follows the host is the other command’s, and what stands before it or right behind it is ours', async (t) => {
  for (const [line, args, options] of [
    ['ssh web', ['web'], {}],
    ['ssh web ls', ['web', 'ls'], {}],
    ['ssh web ls -t -d /', ['web', 'ls', '-t', '-d', '/'], {}],
    ['ssh web grep --port=1 --proxy x', ['web', 'grep', '--port=1', '--proxy', 'x'], {}],
    ['ssh -t web ls -A', ['web', 'ls', '-A'], { tty: true }],
    ['ssh web -t ls -A', ['web', 'ls', '-A'], { tty: true }],
    ['ssh web -p 22 -t ls', ['web', 'ls'], { tty: true, port: '22' }],
    ['ssh -p 22 web -t', ['web'], { tty: true, port: '22' }],
    ['ssh -p22 --forward=a -L b web x', ['web', 'x'], { port: '22', forward: ['a', 'b'] }],
    ['ssh -tp 22 web x', ['web', 'x'], { tty: true, port: '22' }],
    ['ssh -tA web x -y', ['web', 'x', '-y'], { tty: true, agent: true }],
    ['ssh web -- ls -t', ['web', 'ls', '-t'], {}],
    ['ssh -t -- web ls -A', ['web', 'ls', '-A'], { tty: true }],
    ['ssh web ls -- -t', ['web', 'ls', '--', '-t'], {}],
    ['-d --proxy a:1 ssh web ls -d', ['web', 'ls', '-d'], { debug: true, proxy: 'a:1' }],
    ['ssh --proxy=a:1 web', ['web'], { proxy: 'a:1' }],
    ['plain a -t b', ['a', 'b'], { tty: true }],
  ] as const) {
    const { spec, ran } = program()
    const words = await settleWords(spec, line.split(' '))
    equal(await runProgram(buildProgram(spec, await fakeTools(t)), words), 0, line)
    deepEqual(ran[0]?.args, args, line)
    const [input] = ran
    deepEqual(
      {
        ...(input?.flag('tty') === true ? { tty: true } : {}),
        ...(input?.flag('agent') === true ? { agent: true } : {}),
        ...(input?.flag('debug') === true ? { debug: true } : {}),
        ...(input?.text('port') === undefined ? {} : { port: input.text('port') }),
        ...(input?.text('proxy') === undefined ? {} : { proxy: input.text('proxy') }),
        ...(input?.many('forward').length === 0 ? {} : { forward: input?.many('forward') }),
      },
      options,
      line,
    )
  }
})

test('help, an option nobody knows and a missing host are still the parser’s', async (t) => {
  for (const [line, status] of [
    ['ssh --help', 0],
    ['ssh', 2],
    ['ssh --nope web', 2],
    ['ssh -p', 2],
  ] as const) {
    const { spec, ran } = program()
    const words = await settleWords(spec, line.split(' '))
    equal(await runProgram(buildProgram(spec, await fakeTools(t)), words), status, line)
    deepEqual(ran, [])
  }
})
