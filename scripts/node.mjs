// Which Node runs Sluice in a checkout, and whether it is there. Plain JavaScript: any Node >= 20 starts it.
// Platform packages bring the pinned Node (docs: CONTRIBUTING.md, "Installing"); it is addressed by path, never by PATH.
import { spawn, spawnSync } from 'node:child_process'
import { existsSync, statSync } from 'node:fs'
import { constants } from 'node:os'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))

const platform = `${process.platform}-${process.arch}`
// By path: npm 10 does not link the programs of optional packages into node_modules/.bin.
const bin = `${root}node_modules/${platform === 'darwin-arm64' ? 'node-bin' : 'node'}-${platform}/bin`
const stamp = `${root}node_modules/.package-lock.json`

/** Every process of ours runs under these: no code from strings, no debugger by signal (a signal any process of the uid may send). */
export const HYGIENE = ['--disallow-code-generation-from-strings', '--disable-sigusr1']

/** True when this process is a Node that can run the sources or the release. */
export function recent(version = process.versions.node) {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  return major > 26 || (major === 26 && minor >= 6)
}

/** Installs what package-lock.json says when it is not installed yet; returns the path of the Node to run. */
export function ready() {
  if (!installed()) install()
  return existsSync(`${bin}/node`) ? `${bin}/node` : process.execPath
}

/** Becomes `node` with these arguments; where a process cannot be replaced, starts it and passes signals and exit status on. */
export function become(node, args, env) {
  if (process.execve) process.execve(node, [node, ...args], env)
  const child = spawn(node, args, { stdio: 'inherit', env })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'])
    process.on(signal, () => {
      // A terminal has already sent Ctrl-C to the whole group; a second one would mean "at once".
      if (signal !== 'SIGINT' || !process.stdin.isTTY) child.kill(signal)
    })
  child.on('exit', (code, signal) => process.exit(signal ? 128 + constants.signals[signal] : code))
}

/** The environment for child processes: our Node and our tools first in PATH. */
export function environment() {
  return { ...process.env, PATH: `${bin}:${root}node_modules/.bin:${process.env.PATH}` }
}

function installed() {
  return (
    (existsSync(`${bin}/node`) || recent()) &&
    existsSync(stamp) &&
    statSync(stamp).mtimeMs >= statSync(`${root}package-lock.json`).mtimeMs
  )
}

function install() {
  const npm = process.env.npm_execpath
  const [command, args] = npm ? [process.execPath, [npm]] : ['npm', []]
  const wanted = ['ci', '--include=dev', '--include=optional', '--no-audit', '--no-fund']
  const result = spawnSync(command, [...args, ...wanted, '--loglevel=error'], {
    cwd: root,
    // On stderr, so that the output of a program that was only asked a question stays its own.
    stdio: ['ignore', 2, 2],
    env: installEnvironment(),
  })
  if (result.status !== 0) process.exit(result.status ?? 1)
  if (existsSync(`${bin}/node`) || recent()) return
  console.error(
    `sluice needs Node 26; the npm registry offered no build for ${platform}. Install Node >= 26.6 and run again.`,
  )
  process.exit(1)
}

/** Settings of the person's own npm that would leave out what we run on. */
function installEnvironment() {
  const env = { ...process.env, NODE_ENV: '' }
  for (const key of Object.keys(env))
    if (/^npm_config_(omit|production|ignore_scripts|global|dry_run)$/i.test(key)) delete env[key]
  return env
}
