import { deepEqual, equal, ok, rejects, throws } from 'node:assert/strict'
import { existsSync, globSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { test } from 'node:test'

import { temporaryFolder } from '../test/fixtures/files.ts'
import { EXIT } from './exit.ts'
import { profileHome } from './profile-home.ts'
import { hostOf, type Profile, ProfileStore, readText, writeWhole } from './profile.ts'

const PROFILE: Profile = {
  proxy: 'proxy.example.com:3080',
  user: 'alice',
  cluster: 'example.com',
  pins: ['sha256:aa'],
  proxies: ['proxy.example.com:3080', 'second.example.com:443'],
}

function files(folder: string): string[] {
  return globSync('**/*', { cwd: folder, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)))
    .sort()
}

test('the home is SLUICE_HOME, then TELEPORT_HOME, then ~/.tsh', () => {
  equal(profileHome({ SLUICE_HOME: '/a', TELEPORT_HOME: '/b' }), '/a')
  equal(profileHome({ TELEPORT_HOME: '/b' }), '/b')
  ok(profileHome({}).endsWith('/.tsh'))
})

test('files lie where users of the reference product look for them', async (t) => {
  const home = path.join(await temporaryFolder(t), 'tsh')
  const store = new ProfileStore(home)
  await store.write(PROFILE)
  const login = store.loginFiles(PROFILE)
  const database = store.databaseFiles(PROFILE, 'orders')
  for (const file of [...Object.values(login), ...Object.values(database)]) store.put(file, 'x')
  deepEqual(files(home), [
    'current-profile',
    'keys/proxy.example.com/alice-db/example.com/orders.crt',
    'keys/proxy.example.com/alice-db/example.com/orders.key',
    'keys/proxy.example.com/alice.crt',
    'keys/proxy.example.com/alice.key',
    'keys/proxy.example.com/cas/example.com-target.pem',
    'keys/proxy.example.com/cas/example.com.pem',
    'keys/proxy.example.com/certs.pem',
    'proxy.example.com.yaml',
  ])
})

test('every folder is 0700 and every file 0600', async (t) => {
  const home = path.join(await temporaryFolder(t), 'tsh')
  const store = new ProfileStore(home)
  await store.write(PROFILE)
  store.put(store.databaseFiles(PROFILE, 'orders').key, 'secret')
  const entries = globSync('**/*', { cwd: home, withFileTypes: true })
  for (const entry of entries) {
    const mode = statSync(path.join(entry.parentPath, entry.name)).mode & 0o777
    equal(mode, entry.isDirectory() ? 0o700 : 0o600, entry.name)
  }
  equal(statSync(home).mode & 0o777, 0o700)
})

test('a profile reads back as it was written, by name and as the current one', async (t) => {
  const store = new ProfileStore(await temporaryFolder(t))
  await store.write(PROFILE)
  deepEqual(await store.read(), PROFILE)
  deepEqual(await store.read('proxy.example.com:3080'), PROFILE)
  equal(await store.read('other.example.com:443'), undefined)
})

test('the profile written last is current and listed first', async (t) => {
  const store = new ProfileStore(await temporaryFolder(t))
  const second = { ...PROFILE, proxy: 'z.example.com:443' }
  await store.write(PROFILE)
  await store.write(second)
  deepEqual(
    (await store.list()).map(({ proxy }) => proxy),
    ['z.example.com:443', 'proxy.example.com:3080'],
  )
})

test('a home that does not exist holds no login', async (t) => {
  const store = new ProfileStore(path.join(await temporaryFolder(t), 'none'))
  equal(await store.read(), undefined)
  deepEqual(await store.list(), [])
  equal(store.loginPair(PROFILE), undefined)
  deepEqual(store.databases(PROFILE), [])
})

test('forgetting a login removes every key and keeps the pin', async (t) => {
  const home = await temporaryFolder(t)
  const store = new ProfileStore(home)
  await store.write(PROFILE)
  store.put(store.loginFiles(PROFILE).key, 'secret')
  store.put(store.databaseFiles(PROFILE, 'orders').key, 'secret')
  store.forget(PROFILE)
  deepEqual(files(home), ['proxy.example.com.yaml'])
  equal(await store.read(), undefined)
  deepEqual((await store.read(PROFILE.proxy))?.pins, PROFILE.pins)
})

test('forgetting one login leaves the other current', async (t) => {
  const store = new ProfileStore(await temporaryFolder(t))
  const second = { ...PROFILE, proxy: 'z.example.com:443' }
  await store.write(PROFILE)
  await store.write(second)
  store.forget(PROFILE)
  equal((await store.read())?.proxy, second.proxy)
})

test('a pair counts only when certificate and key are both there', async (t) => {
  const store = new ProfileStore(await temporaryFolder(t))
  const names = store.databaseFiles(PROFILE, 'orders')
  store.put(names.certificate, 'c')
  equal(store.databasePair(PROFILE, 'orders'), undefined)
  store.put(names.key, 'k')
  deepEqual(store.databasePair(PROFILE, 'orders'), { certificate: 'c', key: 'k' })
  deepEqual(store.databases(PROFILE), ['orders'])
  store.forgetDatabase(PROFILE, 'orders')
  deepEqual(store.databases(PROFILE), [])
})

test('no name climbs out of its folder', async (t) => {
  const folder = await temporaryFolder(t)
  const home = path.join(folder, 'tsh')
  const store = new ProfileStore(home)
  for (const evil of ['..', '../../x', '/etc/x', '.hidden', 'a/b', 'a\0b', '*']) {
    const profile = { ...PROFILE, proxy: `${evil}:1`, user: evil, cluster: evil }
    const names = [
      ...Object.values(store.loginFiles(profile)),
      ...Object.values(store.databaseFiles(profile, evil)),
    ]
    for (const file of names) {
      ok(file.startsWith(`${home}/keys/`), file)
      equal(path.normalize(file), file)
    }
  }
})

test('names of databases come back as they are, whatever they hold', async (t) => {
  const store = new ProfileStore(await temporaryFolder(t))
  const names = ['orders', 'a b', 'ü/ö', '..', 'x*y']
  for (const name of names) store.put(store.databaseFiles(PROFILE, name).certificate, 'c')
  deepEqual([...store.databases(PROFILE)].sort(), [...names].sort())
})

test('a damaged profile says what is missing and what to do', async (t) => {
  const home = await temporaryFolder(t)
  writeFileSync(path.join(home, 'proxy.example.com.yaml'), 'user: alice\n')
  await rejects(new ProfileStore(home).read('proxy.example.com:1'), {
    status: EXIT.failure,
    message: /has no web_proxy_addr/,
    next: /tsh login/,
  })
})

test('the host of an address is its name in the layout', () => {
  equal(hostOf('proxy.example.com:443'), 'proxy.example.com')
  equal(hostOf('[::1]:443'), '::1')
  equal(hostOf('proxy.example.com'), 'proxy.example.com')
})

test('a file is written whole: an older one is replaced, nothing is left beside it', async (t) => {
  const folder = await temporaryFolder(t)
  const file = path.join(folder, 'deep/er/file')
  writeWhole(file, 'old')
  writeWhole(file, 'new')
  equal(readFileSync(file, 'utf8'), 'new')
  deepEqual(files(folder), ['deep/er/file'])
})

test('reading tells a missing file from one that cannot be read', async (t) => {
  const folder = await temporaryFolder(t)
  equal(readText(path.join(folder, 'none')), undefined)
  mkdirSync(path.join(folder, 'folder'))
  throws(() => readText(path.join(folder, 'folder')), { code: 'EISDIR' })
  ok(!existsSync(path.join(folder, 'none')))
})
