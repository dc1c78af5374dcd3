// Lines of accounts, beside what getent says of the same machine, and all that is left to getent.

import assert from 'node:assert/strict'
import { truncate, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { it, type TestContext } from 'node:test'

import { max } from '../../core/limits.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { run } from '../../test/fixtures/processes.ts'
import { lineInFiles } from './account-files.ts'

const FILES_FIRST = 'passwd:  files systemd\nshadow:files\n'
const ALICE = 'alice:x:1001:1002:Alice Ä:/home/alice:/bin/zsh'
const SHADOW = 'alice:$y$hash:19000:0:99999:7::20000:'

async function etc(
  t: TestContext,
  passwd: string,
  services = FILES_FIRST,
): Promise<(login?: string) => string | undefined> {
  const folder = await temporaryFolder(t)
  await writeFile(path.join(folder, 'passwd'), passwd)
  await writeFile(path.join(folder, 'nsswitch.conf'), services)
  return (login = 'alice') => lineInFiles('passwd', login, folder)
}

it('is the line getent gives, for every login of this machine and both tables', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(path.join(folder, 'nsswitch.conf'), FILES_FIRST)
  for (const table of ['passwd', 'shadow'] as const) {
    const all = await run('/usr/bin/getent', ['-s', 'files', table])
    await writeFile(path.join(folder, table), all.stdout)
    const lines = all.stdout.trimEnd().split('\n')
    assert.ok(lines.length > 5)
    for (const line of lines) {
      const login = line.slice(0, line.indexOf(':'))
      assert.equal(lineInFiles(table, login, folder), line)
      const { stdout } = await run('/usr/bin/getent', [table, '--', login])
      assert.equal(stdout, `${lineInFiles(table, login) ?? line}\n`)
    }
  }
})

it('is read anew each time', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(path.join(folder, 'nsswitch.conf'), FILES_FIRST)
  const shadow = path.join(folder, 'shadow')
  await writeFile(shadow, `root:*:1::::::\n${SHADOW}`)
  assert.equal(lineInFiles('shadow', 'alice', folder), SHADOW)
  await writeFile(shadow, 'root:*:1::::::\n')
  assert.equal(lineInFiles('shadow', 'alice', folder), undefined)
})

it('is the first of its name alone', async (t) => {
  const line = await etc(t, `malice:x:1:1::/:\nalice2:x:2:2::/:\n${ALICE}\nalice:x:0:0::/:\n`)
  assert.equal(line(), ALICE)
  for (const other of ['ali', '', 'x', 'alice:x']) assert.equal(line(other), undefined, other)
})

it('is left to getent where files are not asked first, or not alone to say', async (t) => {
  for (const services of [
    '',
    'passwd: sss files\n',
    'passwd: compat\n',
    'passwd: files [SUCCESS=continue] sss\n',
    'passwd: files[SUCCESS=continue] sss\n',
    'passwd: filesystem\n',
    'passwd: files\npasswd: sss\n',
    '# passwd: files\n',
    'passwd_compat: files\n',
  ])
    assert.equal((await etc(t, ALICE, services))(), undefined, services)
  assert.equal((await etc(t, ALICE, '  passwd : files# as ever\n'))(), ALICE)
})

it('is left to getent when the C library may read the file otherwise, or it cannot be read', async (t) => {
  const blank = await etc(t, ` alice:x:0:0::/:\n${ALICE}\n`)
  assert.equal(blank(), undefined)
  for (const odd of ['alice:x:1001:1002', 'alice:x:-1:1:::', `${ALICE}:more`, 'alice:x:::::'])
    assert.equal((await etc(t, odd))(), undefined, odd)
  assert.equal(lineInFiles('passwd', 'alice', await temporaryFolder(t)), undefined)
})

it('is left to getent in a file over the bound', async (t) => {
  const folder = await temporaryFolder(t)
  const file = path.join(folder, 'passwd')
  await writeFile(path.join(folder, 'nsswitch.conf'), FILES_FIRST)
  await writeFile(file, `${ALICE}\n`)
  await truncate(file, max('accountFileBytesMax'))
  assert.equal(lineInFiles('passwd', 'alice', folder), ALICE)
  await truncate(file, max('accountFileBytesMax') + 1)
  assert.equal(lineInFiles('passwd', 'alice', folder), undefined)
})
