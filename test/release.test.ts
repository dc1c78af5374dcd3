// The release as a stranger would use it: built, packed, unpacked under a node_modules folder, started by its names.
// Dependencies are linked from the checkout instead of fetched; everything else is what `npm install` would lay out.

import { deepEqual, equal, match, ok } from 'node:assert/strict'
import { mkdir, readFile, readdir, symlink } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { ROOT } from './fixtures/checkout.ts'
import { temporaryFolder } from './fixtures/files.ts'
import { run } from './fixtures/processes.ts'

test('the packed release runs from under node_modules', { timeout: 120_000 }, async (t) => {
  const folder = await temporaryFolder(t)
  const out = join(folder, 'out')
  const built = await run(process.execPath, [join(ROOT, 'scripts/release.mjs'), '--out', out])
  equal(built.code, 0, built.stdout + built.stderr)
  const packed = await run('npm', ['pack', out, '--pack-destination', folder, '--offline'])
  equal(packed.code, 0, packed.stderr)

  const home = join(folder, 'site/node_modules/sluice')
  await mkdir(home, { recursive: true })
  const tarball = join(folder, packed.stdout.trim().split('\n').at(-1) ?? '')
  const unpacked = await run('tar', ['-xzf', tarball, '-C', home, '--strip-components=1'])
  equal(unpacked.code, 0, unpacked.stderr)

  const manifest: unknown = JSON.parse(await readFile(join(home, 'package.json'), 'utf8'))
  ok(typeof manifest === 'object' && manifest !== null && 'dependencies' in manifest)
  // Builds of the one addon, and none of the checkout's tools.
  ok('optionalDependencies' in manifest && typeof manifest.optionalDependencies === 'object')
  deepEqual(Object.keys(manifest.optionalDependencies ?? {}), [
    '@lydell/node-pty-linux-arm64',
    '@lydell/node-pty-linux-x64',
  ])
  const { dependencies } = manifest
  ok(typeof dependencies === 'object' && dependencies !== null)
  for (const name of Object.keys(dependencies)) {
    const link = join(folder, 'site/node_modules', name)
    await mkdir(dirname(link), { recursive: true })
    await symlink(join(ROOT, 'node_modules', name), link)
  }

  const files = await readdir(home, { recursive: true })
  deepEqual(
    files.filter((name) => /\.ts$|\.test\.|\.suite\./.test(name)),
    [],
  )

  const bin = join(folder, 'site/node_modules/.bin')
  await mkdir(bin)
  for (const name of ['sluice', 'tsh', 'tctl'])
    await symlink('../sluice/scripts/bin.mjs', join(bin, name))
  const version = await run(process.execPath, [join(bin, 'sluice'), 'version'], { cwd: folder })
  equal(version.code, 0, version.stderr)
  match(version.stdout, /\d+\.\d+\.\d+/)
  for (const name of ['tsh', 'tctl']) {
    const help = await run(process.execPath, [join(bin, name), '--help'], { cwd: folder })
    equal(help.code, 0, help.stderr)
    match(help.stdout, new RegExp(`\\b${name}\\b`))
  }
})
