// OpenSSH of other Debian releases for the full tests: one older and two newer than Debian 12's own. apt fetches and verifies the packages
// from the archive that this machine already uses, in folders of their own; dpkg-deb unpacks them below .cache; patchelf makes the
// programs use the loader and the libraries they were built for. Nothing is installed, no root is needed, no package script runs.
import { spawnSync } from 'node:child_process'
import {
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { basename } from 'node:path'
import { root } from './node.mjs'

/** Debian's suite → the major version of OpenSSH that is wanted of it. The newest one warns of key exchanges that are not post-quantum. */
export const SUITES = { bullseye: 8, trixie: 10, forky: 10 }

const PACKAGES = ['openssh-client', 'openssh-server', 'openssh-sftp-server']
const PROGRAMS = [
  'usr/bin/{ssh,scp,sftp,ssh-add,ssh-agent,ssh-keygen,ssh-keyscan}',
  'usr/lib/openssh/{sftp-server,sshd-session,sshd-auth}',
  'usr/sbin/sshd',
]
/** Of all they depend on, programs and their libraries; not Perl, not an init system. */
const NEEDED = /^(openssh|lib|zlib)/
const KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
const STALE_DAYS = 30
/** Goes up when what is made below changes. */
const LAYOUT = 1

const folder = `${root}.cache/openssh-clients`

/** The sentence that says why they are not all there; undefined when they are. Fetches what is missing. */
export function provideOpenssh() {
  try {
    for (const suite of Object.keys(SUITES)) provide(suite)
    return undefined
  } catch (error) {
    return `OpenSSH of other Debian releases: ${error.message}`
  }
}

function provide(suite) {
  const place = `${folder}/${suite}`
  if (complete(place)) return
  rmSync(place, { recursive: true, force: true })
  const tree = `${place}/tree`
  mkdirSync(tree, { recursive: true })
  console.log(`fetching OpenSSH of Debian ${suite}`)
  const wanted = fetched(suite, `${place}/apt`).filter((path) => NEEDED.test(basename(path)))
  for (const archive of wanted) need('dpkg-deb', ['--extract', archive, tree])
  rmSync(`${place}/apt`, { recursive: true })
  const bin = `${place}/bin`
  mkdirSync(bin)
  for (const path of PROGRAMS.flatMap((pattern) => globSync(`${tree}/${pattern}`)))
    runnable(tree, path, bin)
  const said = need(`${bin}/ssh`, ['-V']).stderr.trim()
  if (!said.startsWith(`OpenSSH_${SUITES[suite]}.`)) throw new Error(`${suite} has ${said}`)
  writeFileSync(`${place}/complete`, String(LAYOUT))
}

/** A released suite stays what it is; of one that moves, what was fetched long ago is fetched again. */
function complete(place) {
  const stamp = `${place}/complete`
  if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== String(LAYOUT)) return false
  const moves = basename(place) === Object.keys(SUITES).at(-1)
  const days = (Date.now() - statSync(stamp).mtimeMs) / 86_400_000
  return !moves || days < STALE_DAYS
}

/** The packages and all they depend on, as if nothing were installed: so nothing of this machine's libraries is taken for granted. */
function fetched(suite, place) {
  for (const part of ['lists/partial', 'cache/archives/partial'])
    mkdirSync(`${place}/${part}`, { recursive: true })
  writeFileSync(`${place}/sources.list`, sourceOf(suite))
  const options = [
    `Dir::Etc::SourceList=${place}/sources.list`,
    'Dir::Etc::SourceParts=/dev/null',
    'Dir::Etc::Preferences=/dev/null',
    'Dir::Etc::PreferencesParts=/dev/null',
    `Dir::State::Lists=${place}/lists`,
    'Dir::State::Status=/dev/null',
    `Dir::Cache=${place}/cache`,
    // The lock of the machine's own packages is not ours to wait for.
    'Debug::NoLocking=true',
    // What a configuration of this machine runs behind its own apt has no business here; nor have descriptions and translations.
    'APT::Update::Post-Invoke-Success=',
    'APT::Keep-Downloaded-Packages=true',
    'Acquire::Languages=none',
    'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false',
    ...(process.getuid?.() === 0 ? ['APT::Sandbox::User=root'] : []),
  ].flatMap((option) => ['-o', option])
  need('apt-get', [...options, '--error-on=any', '-qq', 'update'])
  const want = ['install', '-y', '--download-only', '--no-install-recommends', ...PACKAGES]
  need('apt-get', [...options, '-qq', ...want])
  const archives = globSync(`${place}/cache/archives/*.deb`)
  const lacking = PACKAGES.filter(
    (name) => !archives.some((path) => basename(path).startsWith(`${name}_`)),
  )
  if (lacking.length > 0) throw new Error(`apt brought no ${lacking.join(', ')} of ${suite}`)
  return archives
}

/** The archive that this machine has its own release from, with another suite's name. */
function sourceOf(suite) {
  const release = /^VERSION_CODENAME=(\w+)$/m.exec(readFileSync('/etc/os-release', 'utf8'))?.[1]
  const format = '$(REPO_URI) $(RELEASE) $(COMPONENT)'
  const { stdout } = need('apt-get', ['indextargets', '--format', format, 'Created-By: Packages'])
  const own = stdout.split('\n').find((line) => line.endsWith(` ${release} main`))
  if (release === undefined || own === undefined)
    throw new Error('apt of this machine names no Debian archive with its own release')
  if (!existsSync(KEYRING)) throw new Error('the package debian-archive-keyring is missing')
  return `deb [signed-by=${KEYRING}] ${own.split(' ')[0]} ${suite} main\n`
}

/**
 * Not a wrapper that starts the loader: ssh -J and sshd start their own file again, and the kernel then takes the loader named in
 * the file. RPATH, the older kind, is looked through for the libraries of libraries too, and those that libc loads by name.
 */
function runnable(tree, path, bin) {
  const loaders = globSync(`${tree}/{,usr/}lib/*-linux-gnu*/{ld-linux*.so.*,ld-2*.so}`)
  // Links in the packages are absolute, into a system that is not there.
  const loader = loaders.map((each) => real(tree, each)).find((each) => each !== undefined)
  if (loader === undefined) throw new Error('the packages have no loader')
  const libraries = globSync(`${tree}/{,usr/}lib/*-linux-gnu*`).join(':')
  need('patchelf', ['--set-interpreter', loader, '--force-rpath', '--set-rpath', libraries, path])
  // scp and sftp know ssh by the path it has when installed; the last -S counts, so somebody's own still does.
  const name = basename(path)
  if (name !== 'scp' && name !== 'sftp') return symlinkSync(path, `${bin}/${name}`)
  const part = `${path}.program`
  renameSync(path, part)
  writeFileSync(`${bin}/${name}`, `#!/bin/sh\nexec '${part}' -S '${bin}/ssh' "$@"\n`, {
    mode: 0o755,
  })
}

function real(tree, path) {
  try {
    const found = realpathSync(path)
    return found.startsWith(tree) ? found : undefined
  } catch {
    return undefined
  }
}

/** Runs a program to its end, or throws what it said. */
function need(program, args) {
  const env = { ...process.env, LC_ALL: 'C.UTF-8', DEBIAN_FRONTEND: 'noninteractive' }
  const result = spawnSync(program, args, {
    encoding: 'utf8',
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  if (result.error) throw new Error(`${program}: ${result.error.message}`)
  if (result.status === 0) return result
  const words = result.stderr.trim().split('\n').slice(-3).join(' ')
  throw new Error(`${basename(program)} failed: ${words || `exit status ${result.status}`}`)
}
