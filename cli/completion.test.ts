import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { type TestContext, test } from 'node:test'

import { run } from '../test/fixtures/processes.ts'
import { EXIT } from './exit.ts'
import { TCTL } from './tctl/table.ts'
import { fakeTools, runCommand } from './tools.fixture.ts'
import { TSH } from './tsh/table.ts'

async function script(t: TestContext, spec: typeof TSH, shell: string): Promise<string> {
  const tools = await fakeTools(t)
  await runCommand(spec, tools, 'completion', [shell])
  return tools.printed()
}

/** What bash offers behind these words; the last one is being typed. */
async function offered(text: string, words: readonly string[]): Promise<string[]> {
  const name = words[0] ?? ''
  const quoted = words.map((word) => `'${word}'`).join(' ')
  const ask = `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _${name}; printf '%s\\n' "\${COMPREPLY[@]}"`
  const { stdout, stderr } = await run('/bin/bash', ['-c', `${text}\n${ask}`])
  equal(stderr, '')
  return stdout.split('\n').filter((line) => line !== '')
}

test('bash completes commands, commands of a group, and options', async (t) => {
  const text = await script(t, TSH, 'bash')
  deepEqual(await offered(text, ['tsh', 'sta']), ['status'])
  deepEqual(await offered(text, ['tsh', 'db', 'l']), ['ls', 'login', 'logout'])
  deepEqual(await offered(text, ['tsh', '--proxy', 'x', 'db', 'ls', '--se']), ['--search'])
  deepEqual(await offered(text, ['tsh', 'db', 'exec', 'orders', '--para']), ['--parallel'])
  deepEqual(await offered(text, ['tsh', 'db', 'ls', '--pro']), ['--proxy'])
})

test('bash completes tctl from its own table', async (t) => {
  const text = await script(t, TCTL, 'bash')
  deepEqual(await offered(text, ['tctl', 'audit', 'v']), ['verify'])
  deepEqual(await offered(text, ['tctl', 'db', '']), ['credentials', 'ls'])
  deepEqual(await offered(text, ['tctl', 'db', 'credentials', '']), ['add', 'ls', 'rm'])
  deepEqual(await offered(text, ['tctl', 'db', 'credentials', 'add', 'x', '--allow-m']), [
    '--allow-md5',
  ])
})

test('zsh and fish get every command', async (t) => {
  const zsh = await script(t, TSH, 'zsh')
  const fish = await script(t, TSH, 'fish')
  match(zsh, /^#compdef tsh\n/)
  for (const { words, summary } of TSH.rows) {
    match(zsh, new RegExp(`'${words}'\\) compadd`))
    match(fish, new RegExp(`-a ${words.split(' ').at(-1) ?? ''} -d '${summary}'`))
  }
})

test('another shell is a wrong command line', async (t) => {
  await rejects(script(t, TSH, 'csh'), { status: EXIT.usage })
})
