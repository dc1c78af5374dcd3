// Holds the whole checkout to the rules of test/tidy.ts, and each rule to a breach planted for it: a tool that looks at nothing is green.
// It reads files only; no git, no network.

import { deepEqual, equal, ok } from 'node:assert/strict'
import { globSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { breaches, RULES, type Checkout } from './tidy.ts'

const ROOT = join(import.meta.dirname, '..')
const TEXT = /\.(ts|mjs|js|json|md|yaml|yml|sql|html|css|txt|sh)$|^(\.ci\/run|LICENSE|\.npmrc)$/
const SKIPPED = /(^|\/)(node_modules|dist|\.git|\.sluice|\.cache|\.claude)$/

/** Written in parts, so that no name of a registry stands in the checkout. */
const WELL_KNOWN = [
  ['registry', 'npmjs', 'org'],
  ['registry', 'yarnpkg', 'com'],
  ['deb', 'debian', 'org'],
].map((parts) => parts.join('.'))

const names = [...RULES.keys()]
const checkout = read()

test('the rules see the whole checkout', () => {
  const count = (pattern: RegExp): number =>
    checkout.files.filter(({ path }) => pattern.test(path)).length
  ok(checkout.files.length > 40, `saw only ${checkout.files.length} files`)
  ok(count(/^core\/.*\.ts$/) > 10, `saw only ${count(/^core\/.*\.ts$/)} files of core`)
  ok(count(/\.test\.ts$/) > 3)
  ok(count(/^scripts\/.*\.mjs$/) > 4)
  equal(count(/node_modules|^dist\//), 0)
  equal(count(/^test\/tidy\.ts$/), 1)
})

for (const name of names)
  test(`no file breaks the rule "${name}"`, () => {
    deepEqual(breaches(checkout, [name]), [])
  })

/** Rule, path, content; each row must be caught by that rule. Words are joined so that this file holds none of them. */
const PLANTED: readonly (readonly [rule: string, path: string, text: string])[] = [
  ['layers', 'core/a.ts', "import { x } from '../control/store.ts'"],
  ['layers', 'core/a.ts', "import net from 'node:net'"],
  ['layers', 'core/a.ts', "import {\n  x,\n  y,\n} from '../workers/relay.ts'"],
  ['layers', 'core/a.ts', "import { z } from 'zod'"],
  ['layers', 'core/a.ts', "const a = await import('../cli/main.ts')"],
  ['layers', 'core/a.ts', "export { x } from '../cli/main.ts'"],
  ['layers', 'core/a.ts', "import '../cli/main.ts'"],
  ['layers', 'core/a/b.ts', "import type { X } from '../../control/store.ts'"],
  ['layers', 'protocols/redis/codec.ts', "import { x } from '../postgres/codec.ts'"],
  ['layers', 'protocols/redis/codec.ts', "import tls from 'node:tls'"],
  ['layers', 'protocols/redis/codec.ts', "import { readFile } from 'node:fs/promises'"],
  ['layers', 'protocols/redis/codec.ts', "import { protocols } from '../registry.ts'"],
  ['layers', 'workers/a.ts', "import { x } from '../protocols/postgres/index.ts'"],
  ['layers', 'workers/a.ts', "import { x } from '../control/config.ts'"],
  ['layers', 'control/a.ts', "import { x } from '../workers/pool.ts'"],
  ['layers', 'control/a.ts', "import { x } from '../test/fixtures/files.ts'"],
  ['layers', 'control/web/main.ts', "import { x } from '../store.ts'"],
  ['layers', 'cli/a.ts', "import { x } from '../protocols/registry.ts'"],
  ['layers', 'cli/a.ts', "import { x } from '../protocols/ssh/transport/connect.ts'"],
  ['layers', 'cli/a.ts', "import { x } from '../bench/run.ts'"],
  ['layers', 'scripts/a.mjs', "import { x } from '../core/limits.ts'"],
  ['layers', 'elsewhere/a.ts', "import { x } from '../core/limits.ts'"],
  ['webTypesOnly', 'control/web/api.ts', "import { x } from '../api/schema.ts'"],
  ['testsOfOthers', 'core/a.test.ts', "import { x } from './b.test.ts'"],
  ['relativeEndings', 'core/a.ts', "import { x } from './b'"],
  ['relativeEndings', 'core/a.ts', "import { x } from './b.js'"],
  ['fileNames', 'workers/a.ts', "new Worker('./thread.ts')"],
  ['fileNames', 'workers/a.ts', "join(import.meta.dirname, './thread.ts')"],
  ['layers', 'protocols/ssh/session.ts', "import ssh2 from 'ssh2'"],
  ['ssh2', 'workers/a.ts', "import { Client } from 'ssh2'"],
  ['ssh2', 'protocols/ssh/transport/transport.ts', "require('ssh2/lib/server.js')"],
  ['fileLength', 'core/a.ts', '\n'.repeat(401)],
  ['fileLength', 'core/a.test.ts', '\n'.repeat(601)],
  ['functionLength', 'core/a.ts', `function a(): void {\n${'  x()\n'.repeat(59)}}`],
  [
    'functionLength',
    'core/a.ts',
    `class A {\n  async a(): Promise<void> {\n${'    x()\n'.repeat(59)}  }\n}`,
  ],
  ['functionLength', 'core/a.ts', `function a(\n  b: string,\n): void {\n${'  x()\n'.repeat(57)}}`],
  ['functionLength', 'core/a.test.ts', `test('a', async (t) => {\n${'  x()\n'.repeat(59)}})`],
  ['words', 'docs/a.md', ['TO', 'DO: write'].join('')],
  ['words', 'core/a.ts', ['// FIX', 'ME'].join('')],
  ['words', 'core/a.ts', ['x as ', 'any'].join('')],
  ['words', 'core/a.ts', ['// @ts-', 'ignore'].join('')],
  ['words', 'core/a.test.ts', ['test.on', "ly('x')"].join('')],
  ['words', 'core/a.test.ts', ["test('x', { sk", 'ip: true })'].join('')],
  ['words', 'workers/a.ts', ['new TLSSocket(socket, {\n  isSer', 'ver: true })'].join('')],
  ['words', 'test/fixtures/a.ts', ['pk', 'ill -f node'].join('')],
  ['words', 'core/a.ts', ['Math.ran', 'dom()'].join('')],
  ['words', 'core/a.test.ts', ['await new Promise((r) => setTime', 'out(r, 10))'].join('')],
  ['words', 'core/a.ts', ['export def', 'ault 1'].join('')],
  ['words', 'core/a.ts', ['export *', " from './b.ts'"].join('')],
  ['words', 'core/a.ts', ['export en', 'um A {}'].join('')],
  ['machine', 'docs/a.md', `see ${ROOT}/core`],
  ['machine', 'core/a.ts', `'${['', 'root', 'key'].join('/')}'`],
  ['machine', '.npmrc', `registry=https://${WELL_KNOWN[0] ?? ''}/`],
  ['opening', 'core/a.ts', 'const a = 1'],
  ['opening', 'scripts/a.mjs', '#!/usr/bin/env node\nconst a = 1'],
  ['fileName', 'core/utils.ts', ''],
  ['fileName', 'core/doIt.ts', ''],
  ['fileName', 'core/issue-12.test.ts', ''],
  ['links', 'docs/a.md', '[gone](../core/gone.ts)'],
]

test('each rule catches what is planted for it', () => {
  for (const [name, path, text] of PLANTED) {
    const found = breaches({ ...checkout, files: [{ path, text }] }, [name])
    ok(found.length > 0, `${name} did not see ${JSON.stringify(text.slice(0, 80))} in ${path}`)
  }
  deepEqual([...new Set(PLANTED.map(([name]) => name))].sort(), [...names].sort())
})

/** What looks like a breach and is none. */
const INNOCENT: readonly (readonly [path: string, text: string])[] = [
  ['core/a.ts', "// What it is.\nimport { x } from './b.ts'\nimport { hash } from 'node:crypto'\n"],
  [
    'core/a.test.ts',
    "// Test.\nimport { x } from '../test/fixtures/net.ts'\nimport fc from 'fast-check'\n",
  ],
  ['protocols/redis/session.ts', "// Redis.\nimport { read } from './codec.ts'\n"],
  ['protocols/ssh/session.ts', "// SSH.\nimport { acceptSsh } from './transport/accept.ts'\n"],
  ['protocols/ssh/transport/ssh2.ts', "// SSH.\nconst a = require('ssh2/lib/x.js')\n"],
  [
    'workers/a.ts',
    "// A.\nnew Worker(new URL('./thread.ts', import.meta.url))\n// see './other.ts'\n",
  ],
  ['control/web/a.ts', "// A.\nimport type { X } from '../api/schema.ts'\n"],
  ['core/a.test.ts', `// A.\ndescribe('a', () => {\n${'  x()\n'.repeat(80)}})\n`],
  ['core/b.ts', `// A.\nclass B {\n${'  a(): void {\n    x()\n  }\n'.repeat(30)}}\n`],
  ['core/c.ts', `// A.\nconst table = {\n${'  a: 1,\n'.repeat(100)}}\n`],
  ['test/fixtures/a.ts', '// A.\nMath.random()\n'],
  ['docs/a.md', '[here](../test/tidy.ts) [web](https://example.com) [below](#below)\n'],
]

test('no rule cries at what is allowed', () => {
  for (const file of INNOCENT) {
    const [path, text] = file
    const alone = breaches({ ...checkout, files: [...checkout.files, { path, text }] }, names)
    deepEqual(
      alone.filter((line) => line.startsWith(`${path}:`)),
      [],
    )
  }
})

function read(): Checkout {
  const paths = globSync('**/*', { cwd: ROOT, withFileTypes: true, exclude: skipped })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(ROOT.length + 1))
  const files = [...paths, '.ci/run', '.npmrc', '.oxlintrc.json']
    .filter((path) => TEXT.test(path) && !path.startsWith('bench/results/'))
    .map((path) => ({ path, text: readFileSync(join(ROOT, path), 'utf8') }))
  return { files, root: ROOT, hosts: [...WELL_KNOWN, ...configuredHosts()] }
}

function skipped(entry: { name: string }): boolean {
  return SKIPPED.test(entry.name)
}

/** The registry this npm is set to use, when it is started by npm. */
function configuredHosts(): string[] {
  const registry = process.env['npm_config_registry']
  const host = registry === undefined ? '' : new URL(registry).hostname
  return host.includes('.') ? [host] : []
}
