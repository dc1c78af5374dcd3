// The Debian programs that the tests run for real: installed when we are root, else named. Nothing is skipped in silence.
// No service is started by an installation: the tests start their own, on loopback and in folders of their own.
import { spawnSync } from 'node:child_process'
import { chmodSync, existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'

const POSTGRES = '/usr/lib/postgresql/15/bin'

/** Package → the files of it that the tests run. */
const TESTS = {
  'postgresql-15': [`${POSTGRES}/initdb`, `${POSTGRES}/postgres`, `${POSTGRES}/pgbench`],
  'postgresql-client-15': [`${POSTGRES}/psql`],
  openssl: ['/usr/bin/openssl'],
  'util-linux': ['/usr/bin/setpriv', '/usr/bin/last', '/usr/bin/utmpdump'],
  faketime: ['/usr/bin/faketime'],
  mount: ['/usr/bin/mount', '/usr/bin/umount'],
  'openssh-client': ['/usr/bin/ssh', '/usr/bin/ssh-keygen'],
  'openssh-server': ['/usr/sbin/sshd'],
  'openssh-sftp-server': ['/usr/lib/openssh/sftp-server'],
  rsync: ['/usr/bin/rsync'],
  git: ['/usr/bin/git'],
  bsdutils: ['/usr/bin/script'],
  passwd: ['/usr/sbin/useradd', '/usr/sbin/userdel'],
}

/**
 * What `npm run test:full` runs besides: PostgreSQL's Java driver, and pip, which fetches PostgreSQL 18's client programs; what people
 * run over SSH, and patchelf, which makes OpenSSH of other releases run here.
 */
const FULL = {
  'openjdk-17-jdk-headless': ['/usr/bin/javac', '/usr/bin/java'],
  'libpostgresql-jdbc-java': ['/usr/share/java/postgresql.jar'],
  'python3-pip': ['/usr/bin/python3', '/usr/bin/pip3'],
  'ansible-core': ['/usr/bin/ansible'],
  sshfs: ['/usr/bin/sshfs', '/usr/bin/fusermount3'],
  vim: ['/usr/bin/vim'],
  patchelf: ['/usr/bin/patchelf'],
}

/** What `npm run bench` compares with, besides. */
const BENCH = {
  nginx: ['/usr/sbin/nginx'],
  'libnginx-mod-stream': ['/usr/lib/nginx/modules/ngx_stream_module.so'],
}

const POLICY = '/usr/sbin/policy-rc.d'

/** Packages of which a file is missing. */
export function missing({ bench = false, full = false } = {}) {
  const wanted = { ...TESTS, ...(full ? FULL : {}), ...(bench ? BENCH : {}) }
  return Object.keys(wanted).filter((name) => wanted[name].some((path) => !existsSync(path)))
}

/** Makes sure everything is there; returns the packages that are not. */
export function provide(options) {
  const packages = missing(options)
  if (packages.length === 0 || process.getuid?.() !== 0 || !existsSync('/usr/bin/apt-get'))
    return packages
  console.log(`installing ${packages.join(' ')}`)
  withoutServices(() => {
    if (apt(['install', '-y', '--no-install-recommends', ...packages])) return
    // The lists of a new machine are empty, and those of an old one name packages that are gone.
    apt(['update'])
    apt(['install', '-y', '--no-install-recommends', ...packages])
  })
  return missing(options)
}

/** The sentence for somebody who must install them by hand. */
export function advice(packages) {
  return `missing Debian packages: ${packages.join(' ')}\n  as root: apt-get install --no-install-recommends ${packages.join(' ')}`
}

function apt(args) {
  const result = spawnSync('apt-get', ['-q', ...args], {
    stdio: ['ignore', 'inherit', 'inherit'],
    env: { ...process.env, DEBIAN_FRONTEND: 'noninteractive' },
  })
  return result.status === 0
}

/** policy-rc.d that exits 101 keeps packages from starting what they bring. What was there before comes back. */
function withoutServices(work) {
  const before = existsSync(POLICY)
    ? { text: readFileSync(POLICY), mode: statSync(POLICY).mode }
    : undefined
  writeFileSync(POLICY, '#!/bin/sh\nexit 101\n')
  chmodSync(POLICY, 0o755)
  try {
    work()
  } finally {
    rmSync(POLICY)
    if (before) writeFileSync(POLICY, before.text, { mode: before.mode })
    if (before) chmodSync(POLICY, before.mode)
  }
}
