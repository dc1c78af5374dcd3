// Commands without a terminal: exit status, both outputs, ends of input, data of any size. Also what a person must not see: no
// question, and no word of the client's own, such as a newer one's warning of a key exchange that is not post-quantum.

import { deepEqual, equal, match, notEqual } from 'node:assert/strict'
import { readFile } from 'node:fs/promises'

import type { Output } from '../fixtures/processes.ts'
import { digestOf, randomFile } from './bytes.ts'
import type { Cell } from './seat.ts'

const SILENT: Cell = {
  row: 'asks nothing and says nothing of its own',
  async run(seat) {
    deepEqual(said(await seat.exec('id -un')), [0, `${seat.parts.login}\n`, ''])
  },
}

const STATUS: Cell = {
  row: 'exit status and both outputs',
  async run(seat) {
    const output = await seat.exec('echo out; echo err >&2; exit 7')
    deepEqual(said(output), [7, 'out\n', 'err\n'])
  },
}

const SIGNAL: Cell = {
  row: 'a command that a signal ends',
  async run(seat) {
    const { code, stdout } = await seat.exec('echo before; kill -TERM $$; echo after')
    equal(stdout, 'before\n')
    // There is no status; which one stands for that is the client's choice.
    notEqual(code, 0)
  },
}

const SHELL: Cell = {
  row: 'a login shell that reads its commands',
  async run(seat) {
    const input = 'shopt -q login_shell && echo login\nid -un\nexit 4\n'
    const plain = seat.parts.client.openssh === undefined ? [] : ['-T']
    const { code, stdout } = await seat.exec(undefined, { input }, plain)
    equal(code, 4)
    // A machine may greet before.
    match(stdout, new RegExp(`^login\n${seat.parts.login}\n$`, 'm'))
  },
}

const EARLY_END: Cell = {
  row: 'input that ends at once',
  async run(seat) {
    deepEqual(said(await seat.exec('cat; echo end; exit 3', { input: '' })), [3, 'end\n', ''])
  },
}

const UNREAD: Cell = {
  row: 'input that nobody reads',
  async run(seat) {
    const input = 'x'.repeat(8_000_000)
    deepEqual(said(await seat.exec('head -c 3; exit 5', { input })), [5, 'xxx', ''])
    deepEqual(said(await seat.exec('exec <&-; exit 6', { input })), [6, '', ''])
  },
}

const LATE_OUTPUT: Cell = {
  row: 'output after its input ended',
  async run(seat) {
    const output = await seat.exec('wc -c; seq 200000 | tail -n 1', { input: 'twelve bytes' })
    deepEqual(said(output), [0, '12\n200000\n', ''])
  },
}

const CROWD: Cell = {
  row: 'eight at once',
  async run(seat) {
    const each = Array.from({ length: 8 }, (_, at) => at)
    const outputs = await Promise.all(each.map((at) => seat.exec(`echo ${at}; exit ${at}`)))
    deepEqual(
      outputs.map(said),
      each.map((at) => [at, `${at}\n`, '']),
    )
  },
}

export const EXEC: readonly Cell[] = [
  SILENT,
  STATUS,
  SIGNAL,
  SHELL,
  EARLY_END,
  UNREAD,
  LATE_OUTPUT,
  CROWD,
]

/** So many bytes to the machine, from it, and both ways at once; all compared. */
export function bulk(bytes: number): readonly Cell[] {
  const size = `${bytes / 1e6} MB`
  return [
    {
      row: `${size} to it`,
      async run(seat) {
        const [from, to] = [seat.here('up'), seat.here('up.out')]
        const digest = await randomFile(from, bytes)
        const output = await seat.piped(seat.ssh([], 'sha256sum'), from, to)
        deepEqual([output.code, output.stderr], [0, ''])
        equal(await readFile(to, 'utf8'), `${digest}  -\n`)
      },
    },
    {
      row: `${size} from it`,
      async run(seat) {
        const digest = await randomFile(seat.there('down'), bytes)
        const words = seat.ssh([], `cat '${seat.there('down')}'`)
        const output = await seat.piped(words, '/dev/null', seat.here('down.out'))
        deepEqual([output.code, output.stderr], [0, ''])
        equal(await digestOf(seat.here('down.out')), digest)
      },
    },
    {
      row: `${size} both ways at once`,
      async run(seat) {
        const [from, to] = [seat.here('both'), seat.here('both.out')]
        const digest = await randomFile(from, bytes)
        const output = await seat.piped(seat.ssh([], 'cat'), from, to)
        deepEqual([output.code, output.stderr], [0, ''])
        equal(await digestOf(to), digest)
      },
    },
  ]
}

function said({ code, stdout, stderr }: Output): readonly [number | null, string, string] {
  return [code, stdout, stderr]
}
