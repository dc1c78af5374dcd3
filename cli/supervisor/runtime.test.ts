// Where roles run from: the checkout when every uid can read it, else an open copy that holds what a role needs and no more.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readdirSync, symlinkSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import path from 'node:path'
import { describe, it } from 'node:test'

import { ROOT } from '../../test/fixtures/checkout.ts'
import { openFolder } from '../../test/fixtures/files.ts'
import { NODE_FLAGS } from '../../test/fixtures/processes.ts'
import { DEFAULT_UIDS } from './plan.ts'
import { childEnvironment, launch, productionPackages } from './runtime.ts'

const SOURCES = ['core', 'protocols', 'workers', 'control', 'cli', 'package.json']

/** What a supervisor in that checkout would do: where roles would run, or why they cannot, and who could read a role there. */
const ASK = (root: string, uid: number): string => `
const { readableRuntime } = await import(${JSON.stringify(path.join(root, 'cli/supervisor/runtime.ts'))})
const { spawnSync } = await import('node:child_process')
const { existsSync, readdirSync } = await import('node:fs')
try {
  const runtime = readableRuntime([${uid}])
  const copied = runtime.root !== ${JSON.stringify(root)}
  const probe = spawnSync(runtime.node, ['--check', runtime.root + '/cli/roles/proxy.ts'],
    { cwd: '/', env: {}, ...(process.getuid() === 0 ? { uid: ${uid}, gid: ${uid} } : {}) })
  const files = copied ? readdirSync(runtime.root, { recursive: true }).filter((name) => !name.startsWith('node_modules')) : []
  runtime.dispose()
  console.log(JSON.stringify({ copied, runs: probe.status === 0, files, left: copied && existsSync(runtime.root) }))
} catch (error) {
  console.log(JSON.stringify({ refused: error.message, next: error.next }))
}
`

interface Told {
  readonly copied?: boolean
  readonly runs?: boolean
  readonly files?: readonly string[]
  readonly left?: boolean
  readonly refused?: string
  readonly next?: string
}

function ask(root: string, uid: number, tmpdir: string): Told {
  const args = [...NODE_FLAGS, '--input-type=module', '--eval', ASK(root, uid)]
  const { stdout, stderr } = spawnSync(process.execPath, args, {
    encoding: 'utf8',
    env: { ...process.env, TMPDIR: tmpdir },
  })
  assert.notEqual(stdout, '', stderr)
  return JSON.parse(stdout) as Told
}

/** A checkout that only its owner may enter. */
async function closedCheckout(folder: string): Promise<string> {
  const root = path.join(folder, 'closed')
  mkdirSync(root)
  for (const name of SOURCES)
    cpSync(path.join(ROOT, name), path.join(root, name), { recursive: true })
  symlinkSync(path.join(ROOT, 'node_modules'), path.join(root, 'node_modules'))
  await chmod(root, 0o700)
  return root
}

describe('the runtime of roles', () => {
  it('is the checkout itself for whoever can read it', async (context) => {
    const folder = await openFolder(context)
    const root = await closedCheckout(folder)
    const told = ask(root, process.getuid?.() ?? 0, folder)
    assert.deepEqual([told.copied, told.runs], [false, true])
  })

  it('is an open copy without tests when the checkout is closed, and is removed afterwards', async (context) => {
    const folder = await openFolder(context)
    const root = await closedCheckout(folder)
    const told = ask(root, DEFAULT_UIDS.proxy, folder)
    // Only root can become another uid; anybody else is told so, in a sentence with a way out.
    if (process.getuid?.() !== 0) return refusedIn(told, folder)
    assert.deepEqual([told.copied, told.runs, told.left], [true, true, false])
    const files = told.files ?? []
    assert.ok(files.includes('cli/roles/proxy.ts') && files.includes('node'))
    assert.deepEqual(
      files.filter((name) => name.endsWith('.test.ts')),
      [],
    )
    assert.deepEqual(readdirSync(folder), ['closed'])
  })

  it('is refused in a sentence when the copy would be closed as well', async (context) => {
    const folder = await openFolder(context)
    const root = await closedCheckout(folder)
    refusedIn(ask(root, DEFAULT_UIDS.proxy, root), root)
  })
})

function refusedIn(told: Told, tmpdir: string): void {
  assert.match(told.refused ?? '', /can read neither the sources in .* nor a copy of them/)
  assert.match(told.next ?? '', /TMPDIR/)
  assert.deepEqual(
    readdirSync(tmpdir).filter((name) => name.startsWith('sluice-runtime-')),
    [],
  )
}

describe('what a role is started with', () => {
  it('is a clean environment', () => {
    const names = Object.keys(childEnvironment())
    assert.deepEqual(
      names.filter((name) => !['PATH', 'LANG', 'TZ', 'TMPDIR'].includes(name)),
      [],
    )
  })

  it('is Node, behind the programs that take privileges and core files away where the machine has them', () => {
    const { execPath, execArgv } = launch('/opt/node', ['--flag'])
    const chain = [execPath, ...execArgv]
    assert.deepEqual(chain.slice(chain.indexOf('/opt/node')), ['/opt/node', '--flag'])
    assert.equal(chain.includes('--no-new-privs'), existsSync('/usr/bin/setpriv'))
    assert.equal(chain.includes('--core=0:0'), existsSync('/usr/bin/prlimit'))
  })

  it('leaves the launcher what its logins may need: privileges through sudo, core files when they ask for them', () => {
    const { execPath, execArgv } = launch('/opt/node', [], true)
    const chain = [execPath, ...execArgv]
    assert.ok(!chain.includes('--no-new-privs'))
    assert.equal(chain.includes('--core=0:'), existsSync('/usr/bin/prlimit'))
  })

  it('are the packages that ours need, those packages need, and no tool', () => {
    const packages = productionPackages(ROOT)
    assert.ok(packages.includes('zod'))
    assert.ok(!packages.includes('typescript'))
    // Terminals: of the optional packages alone what the program loads.
    assert.ok(packages.includes(`@lydell/node-pty-linux-${process.arch}`))
    assert.ok(!packages.some((name) => name.startsWith('node-linux')))
    assert.deepEqual(packages, [...new Set(packages)].sort())
  })
})
