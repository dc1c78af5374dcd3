// Adds to package-lock.json the optional platform packages that the registry in use does not serve.
// Without them `npm ci` calls the lock incomplete. Run after each `npm install X`; a test runs `npm ci --dry-run`.
import { readFileSync, writeFileSync } from 'node:fs'

const lock = JSON.parse(readFileSync('package-lock.json', 'utf8'))
let added = 0
for (const [at, entry] of Object.entries(lock.packages)) {
  for (const [name, range] of Object.entries(entry.optionalDependencies ?? {})) {
    const top = `node_modules/${name}`
    if (lock.packages[`${at}/node_modules/${name}`] || lock.packages[top]) continue
    lock.packages[top] = placeholder(name, range, entry.dev)
    added++
  }
}
const sorted = Object.entries(lock.packages).sort(([a], [b]) => a.localeCompare(b, 'en'))
lock.packages = Object.fromEntries(sorted)
writeFileSync('package-lock.json', `${JSON.stringify(lock, null, 2)}\n`)
console.log(`added ${added} platform packages to package-lock.json`)

function placeholder(name, range, dev) {
  const os = /android|darwin|win32|linux|freebsd|openharmony|wasm/.exec(name)?.[0]
  const cpu = /arm64|x64|ia32|arm|ppc64|riscv64|s390x|loong64/.exec(name)?.[0]
  const gnu = os === 'linux' && /gnu/.test(name)
  const libc = /musl/.test(name) ? 'musl' : gnu ? 'glibc' : undefined
  return {
    version: range.replace(/^[\^~]/, ''),
    ...(cpu ? { cpu: [cpu] } : {}),
    ...(dev ? { dev: true } : {}),
    ...(libc ? { libc: [libc] } : {}),
    optional: true,
    ...(os ? { os: [os === 'wasm' ? 'none' : os] } : {}),
  }
}
