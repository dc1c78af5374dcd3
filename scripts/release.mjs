// `npm run release`: the program as JavaScript in dist/, a package of its own that also runs from under node_modules (where Node
// refuses to strip types). It carries no Node: it needs >= 26.6 and says so. `--out FOLDER` writes elsewhere.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { dirname, join, resolve } from 'node:path'
import { root } from './node.mjs'

const SOURCES = ['core', 'protocols', 'workers', 'control', 'cli']
const SCRIPTS = ['scripts/bin.mjs', 'scripts/node.mjs']
const PAGES = ['README.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md']
/** What only tests read. */
const NOT_SHIPPED = /\.(ts|tsx)$|(^|\/)vectors\/|(^|\/)README\.md$/

const at = process.argv.indexOf('--out')
const out = resolve(at < 0 ? join(root, 'dist') : (process.argv[at + 1] ?? ''))
process.chdir(root)
if (at < 0) rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })

emit()
const rewritten = emitted().map(nameEmittedFiles)
if (rewritten.length < 20) throw new Error(`only ${rewritten.length} files were emitted`)
for (const path of [...assets(), ...SCRIPTS, ...PAGES]) copy(path)
chmodSync(join(out, 'scripts/bin.mjs'), 0o755)
writeFileSync(join(out, 'package.json'), `${JSON.stringify(manifest(), null, 2)}\n`)
console.log(`${rewritten.length} files in ${out}; pack them with: npm pack ${out}`)

function emit() {
  const tsc = 'node_modules/typescript/bin/tsc'
  const result = spawnSync(
    process.execPath,
    [tsc, '-p', 'tsconfig.release.json', '--outDir', out],
    { stdio: 'inherit' },
  )
  if (result.status !== 0) process.exit(1)
}

function emitted() {
  return globSync(`{${SOURCES.join(',')}}/**/*.js`, { cwd: out })
}

/** tsc rewrites imports; a thread or child file is named by a URL, which it leaves as it is. */
function nameEmittedFiles(path) {
  const file = join(out, path)
  const before = readFileSync(file, 'utf8')
  const form = /(new URL\(\s*(['"])\.[^'"\n]+)\.ts(\2,\s*import\.meta\.url,?\s*\))/g
  const after = before.replace(form, '$1.js$3')
  if (after !== before) writeFileSync(file, after)
  return path
}

/** Pages, SQL and the like that the sources read at run time. */
function assets() {
  return globSync(`{${SOURCES.join(',')}}/**/*`, { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((path) => !NOT_SHIPPED.test(path))
}

function copy(path) {
  const to = join(out, path)
  mkdirSync(dirname(to), { recursive: true })
  cpSync(path, to)
}

/** The checkout's own, without what only a checkout needs. */
function manifest() {
  const { name, version, description, license, type, engines, bin, dependencies, ...rest } =
    JSON.parse(readFileSync('package.json', 'utf8'))
  // The other optional packages are tools of the checkout.
  const builds = Object.entries(rest.optionalDependencies).filter(([each]) =>
    each.startsWith('@lydell/node-pty-'),
  )
  const optionalDependencies = Object.fromEntries(builds)
  const kept = { name, version, description, license, type, engines, bin, dependencies }
  return { ...kept, optionalDependencies }
}
