// Where a role's program runs from, and under which flags. A role that runs under its own uid must be able to read the
// sources and the Node binary; where the checkout is closed to it (under /root, say) both are copied to a folder that is open.

import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
} from 'node:fs'
import os from 'node:os'
import path from 'node:path'

import { ProxyError } from '../../core/errors.ts'

/** The program of a role: which Node, which sources. `dispose` removes a copy. */
export interface Runtime {
  readonly root: string
  readonly node: string
  dispose(): void
}

/** Process hygiene (docs/threats.md): no inspector, no prototype setters, no code from strings. */
export const HYGIENE_FLAGS: readonly string[] = [
  '--disable-sigusr1',
  '--disable-proto=throw',
  '--disallow-code-generation-from-strings',
  '--no-addons',
  '--disable-warning=ExperimentalWarning',
]

/**
 * Of roles whose threads pass bytes. V8 counts buffers as part of the heap and takes them back with a collection of all of it, which it
 * begins when the heap has grown by little: with this when it has grown fourfold, which is the most that V8 allows itself.
 */
export const STREAMING_FLAGS: readonly string[] = ['--heap-growing-percent=300']

/** util-linux programs that close what Node itself cannot: core files and gaining privileges through set-uid programs. */
const SETPRIV = '/usr/bin/setpriv'
const PRLIMIT = '/usr/bin/prlimit'

/**
 * How to start `node` with `flags`: through prlimit (core size 0) and setpriv (no new privileges) where the machine has them.
 * Both replace themselves by the next program, so pid and IPC channel stay. `startsLogins`: what it starts may gain privileges (sudo)
 * and raise the limit again, as after any other login; the process itself gets neither.
 */
export function launch(
  node: string,
  flags: readonly string[],
  startsLogins = false,
): { execPath: string; execArgv: string[] } {
  const chain = [
    ...(existsSync(SETPRIV) && !startsLogins ? [SETPRIV, '--no-new-privs'] : []),
    ...(existsSync(PRLIMIT) ? [PRLIMIT, startsLogins ? '--core=0:' : '--core=0:0'] : []),
    node,
    ...flags,
  ]
  const [execPath = node, ...execArgv] = chain
  return { execPath, execArgv }
}

const SOURCES = ['core', 'protocols', 'workers', 'control', 'cli', 'package.json'] as const

/** The environment of a child: nothing of ours but what it needs, so that NODE_OPTIONS cannot slip in. */
export function childEnvironment(): NodeJS.ProcessEnv {
  const { PATH, LANG, TZ, TMPDIR } = process.env
  return {
    PATH: PATH ?? '/usr/bin:/bin',
    ...(LANG === undefined ? {} : { LANG }),
    ...(TZ === undefined ? {} : { TZ }),
    ...(TMPDIR === undefined ? {} : { TMPDIR }),
  }
}

/** The runtime as it stands, when every uid can read it; else an open copy. Refuses with a sentence when neither works. */
export function readableRuntime(uids: readonly number[]): Runtime {
  const root = path.resolve(import.meta.dirname, '../..')
  const own: Runtime = { root, node: process.execPath, dispose() {} }
  if (uids.every((uid) => readable(own, uid))) return own
  const copy = copyRuntime(root)
  const closed = uids.find((uid) => !readable(copy, uid))
  if (closed === undefined) return copy
  copy.dispose()
  throw new ProxyError(
    'config.invalid',
    `uid ${closed} can read neither the sources in ${root} nor a copy of them in ${copy.root}`,
    {
      next: 'Move the checkout to a folder all users may enter, or set TMPDIR to one, then start again.',
    },
  )
}

function readable(runtime: Runtime, uid: number): boolean {
  const probe = spawnSync(
    runtime.node,
    ['--check', path.join(runtime.root, 'cli/roles/signer.ts')],
    {
      uid,
      gid: uid,
      cwd: '/',
      env: childEnvironment(),
      stdio: 'ignore',
    },
  )
  return probe.status === 0
}

function copyRuntime(root: string): Runtime {
  const folder = mkdtempSync(path.join(os.tmpdir(), 'sluice-runtime-'))
  chmodSync(folder, 0o755)
  for (const name of SOURCES) copyOpen(path.join(root, name), path.join(folder, name))
  const modules = path.join(folder, 'node_modules')
  mkdirSync(modules)
  for (const name of productionPackages(root))
    copyOpen(path.join(root, 'node_modules', name), path.join(modules, name))
  const node = path.join(folder, 'node')
  cpSync(process.execPath, node)
  chmodSync(node, 0o755)
  return { root: folder, node, dispose: () => rmSync(folder, { recursive: true, force: true }) }
}

/** Copies a file or a tree and opens it for reading by all; symbolic links are followed. */
function copyOpen(from: string, to: string): void {
  mkdirSync(path.dirname(to), { recursive: true })
  cpSync(from, to, {
    recursive: true,
    dereference: true,
    filter: (source) => !source.endsWith('.test.ts'),
  })
  open(to)
}

function open(target: string): void {
  const directory = statSync(target).isDirectory()
  chmodSync(target, directory ? 0o755 : 0o644)
  if (directory) for (const name of readdirSync(target)) open(path.join(target, name))
}

/** Builds for a platform that the program itself loads; the other optional packages are tools of the checkout. */
const PLATFORM_BUILDS = /^@lydell\/node-pty-/

/** Names of the packages that `dependencies` reach, by their own package.json files, and the platform builds that are there. */
export function productionPackages(root: string): readonly string[] {
  const found = new Set<string>()
  const waiting = dependenciesOf(path.join(root, 'package.json'))
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    const manifest = path.join(root, 'node_modules', name, 'package.json')
    if (found.has(name) || !existsSync(manifest)) continue
    found.add(name)
    waiting.push(...dependenciesOf(manifest))
  }
  return [...found].sort()
}

function dependenciesOf(manifest: string): string[] {
  const parsed: unknown = JSON.parse(readFileSync(manifest, 'utf8'))
  if (typeof parsed !== 'object' || parsed === null) return []
  const optional = 'optionalDependencies' in parsed ? namesOf(parsed.optionalDependencies) : []
  const needed = 'dependencies' in parsed ? namesOf(parsed.dependencies) : []
  return [...needed, ...optional.filter((name) => PLATFORM_BUILDS.test(name))]
}

function namesOf(list: unknown): string[] {
  return typeof list === 'object' && list !== null ? Object.keys(list) : []
}
