import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { chmod, mkdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import { FakeClock } from '../../core/clock.ts'
import { string, u32 } from '../../core/ssh/bytes.ts'
import { REQUEST, RESPONSE } from '../../core/ssh/sftp.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { SftpClient } from './client.ts'
import { Copy } from './copy.ts'
import { Progress } from './progress.ts'
import { folders, names, opensshChannel, packet, ScriptedServer, status } from './server.fixture.ts'

interface Places {
  readonly here: string
  readonly there: string
  readonly copy: Copy
  readonly failures: string[]
}

async function places(t: TestContext, options: { r?: true; p?: true } = {}): Promise<Places> {
  const [here, there] = [await temporaryFolder(t), await temporaryFolder(t)]
  const failures: string[] = []
  const client = await SftpClient.start(opensshChannel(t, there))
  const copy = new Copy(client, {
    recursive: options.r === true,
    preserve: options.p === true,
    failed: (text) => void failures.push(text),
  })
  return { here, there, copy, failures }
}

test('files of each size go there and come back as they were', async (t) => {
  const { here, there, copy, failures } = await places(t)
  for (const size of [0, 1, 32_767, 32_768, 32_769, 5_000_003]) {
    const bytes = randomBytes(size)
    await writeFile(path.join(here, 'a'), bytes)
    await copy.toNode([path.join(here, 'a')], 'b')
    ok((await readFile(path.join(there, 'b'))).equals(bytes), `${size} there`)
    await copy.fromNode(['b'], path.join(here, 'c'))
    ok((await readFile(path.join(here, 'c'))).equals(bytes), `${size} back`)
  }
  deepEqual(failures, [])
})

test('a longer file that was there is cut', async (t) => {
  const { here, there, copy } = await places(t)
  await writeFile(path.join(here, 'a'), 'short')
  await writeFile(path.join(there, 'a'), 'much longer than that')
  await copy.toNode([path.join(here, 'a')], '.')
  equal(await readFile(path.join(there, 'a'), 'utf8'), 'short')
})

test('a file of the kernel, whose size is told as nothing, comes whole', async (t) => {
  const { here, copy } = await places(t)
  await copy.fromNode(['/proc/self/status'], path.join(here, 'a'))
  match(await readFile(path.join(here, 'a'), 'utf8'), /^Name:\s+sftp-server\n[\s\S]*\nThreads:/)
})

test('folders go with -r and are refused without it', async (t) => {
  const { here, there, copy, failures } = await places(t, { r: true })
  await mkdir(path.join(here, 'tree/inner/empty'), { recursive: true })
  await writeFile(path.join(here, 'tree/a'), 'a')
  await writeFile(path.join(here, 'tree/inner/ä b'), 'b')
  await copy.toNode([path.join(here, 'tree')], '.')
  equal(await readFile(path.join(there, 'tree/inner/ä b'), 'utf8'), 'b')
  ok((await stat(path.join(there, 'tree/inner/empty'))).isDirectory())
  // The target is not there: the folder gets its name.
  await copy.fromNode(['tree'], path.join(here, 'again'))
  equal(await readFile(path.join(here, 'again/inner/ä b'), 'utf8'), 'b')
  deepEqual(failures, [])
  const flat = await places(t)
  await mkdir(path.join(flat.there, 'tree'))
  await flat.copy.fromNode(['tree'], flat.here)
  await flat.copy.toNode([flat.here], 'x')
  equal(flat.copy.failures, 2)
  match(flat.failures[0] ?? '', /tree: it is a folder; -r copies folders/)
})

test('permissions and times go with -p; never more than those of owner, group and others', async (t) => {
  const { here, there, copy } = await places(t, { p: true })
  const [local, remote] = [path.join(here, 'a'), path.join(there, 'a')]
  await writeFile(local, 'a')
  await chmod(local, 0o640)
  await utimes(local, 1_000_000, 2_000_000)
  await copy.toNode([local], 'a')
  equal((await stat(remote)).mode & 0o7777, 0o640)
  equal((await stat(remote)).mtimeMs, 2_000_000_000)
  await chmod(remote, 0o4711)
  await utimes(remote, 1, 2)
  await copy.fromNode(['a'], path.join(here, 'b'))
  equal((await stat(path.join(here, 'b'))).mode & 0o7777, 0o711)
  equal((await stat(path.join(here, 'b'))).mtimeMs, 2000)
})

test('a pattern means what it matches; a name with stars that is there means itself', async (t) => {
  const { here, there, copy } = await places(t)
  for (const name of ['a.log', 'b.log', 'c.txt']) await writeFile(path.join(there, name), name)
  await copy.fromNode(['*.log'], here)
  equal(await readFile(path.join(here, 'b.log'), 'utf8'), 'b.log')
  await rejects(stat(path.join(here, 'c.txt')), { code: 'ENOENT' })
  await writeFile(path.join(there, '*.log'), 'star')
  await copy.fromNode(['*.log'], path.join(here, 'one'))
  equal(await readFile(path.join(here, 'one'), 'utf8'), 'star')
  await rejects(copy.fromNode(['*.none'], here), /nothing matches/)
  await rejects(copy.fromNode(['a.log', 'b.log'], path.join(here, 'a')), /want a folder/)
})

test('what cannot be copied is named and counted, and the rest is copied', async (t) => {
  const { here, there, copy, failures } = await places(t, { r: true })
  await writeFile(path.join(there, 'good'), 'good')
  await copy.fromNode(['none', 'good', '/dev/null'], here)
  equal(await readFile(path.join(here, 'good'), 'utf8'), 'good')
  equal(copy.failures, 2)
  match(failures.join('\n'), /none: no such file[\s\S]*\/dev\/null: it is no regular file/)
  await copy.toNode([path.join(here, 'none'), path.join(here, 'good')], '.')
  equal(copy.failures, 3)
  match(failures[2] ?? '', /none.*ENOENT/)
})

test('folders in folders without an end end somewhere, and are a failure', async (t) => {
  const here = await temporaryFolder(t)
  const failures: string[] = []
  let listed = false
  const server = new ScriptedServer(({ id, type }) => {
    if (type === REQUEST.stat) return packet(RESPONSE.attrs, u32(id), u32(4), u32(0o040_755))
    if (type === REQUEST.opendir) return packet(RESPONSE.handle, u32(id), string('h'))
    if (type !== REQUEST.readdir) return status(id, 0)
    listed = !listed
    return listed ? folders(id, 'x') : status(id, 1)
  })
  const copy = new Copy(await SftpClient.start(server), {
    recursive: true,
    preserve: false,
    failed: (text) => void failures.push(text),
  })
  await copy.fromNode(['tree'], path.join(here, 'tree'))
  equal(failures.length, 1)
  match(failures[0] ?? '', /deeper than sftpDepthMax/)
})

test('names of a hostile server lead nowhere', async (t) => {
  const here = await temporaryFolder(t)
  const failures: string[] = []
  let listed = false
  const server = new ScriptedServer(({ id, type }) => {
    if (type === REQUEST.stat) return packet(RESPONSE.attrs, u32(id), u32(4), u32(0o040_755))
    if (type === REQUEST.opendir) return packet(RESPONSE.handle, u32(id), string('h'))
    if (type !== REQUEST.readdir) return status(id, 0)
    const once = listed
    listed = true
    return once
      ? status(id, 1)
      : names(
          id,
          '.',
          '..',
          '../evil',
          '/etc/evil',
          '',
          'a/../../evil',
          Uint8Array.of(0xff),
          'a\0b',
        )
  })
  const copy = new Copy(await SftpClient.start(server), {
    recursive: true,
    preserve: true,
    failed: (text) => void failures.push(text),
  })
  await copy.fromNode(['tree'], path.join(here, 'tree'))
  equal(copy.failures, 6)
  for (const text of failures) match(text, /a name that cannot be written here/)
  await copy.fromNode(['..'], here)
  match(failures.at(-1) ?? '', /name the folder/)
})

test('progress is a line that is written over itself', () => {
  const clock = new FakeClock()
  let shown = ''
  const progress = new Progress(clock, (text) => void (shown += text))
  progress.begin('a\u001bfile', 2_000_000)
  progress.moved(10)
  equal(shown, '')
  clock.advance(1000)
  progress.moved(999_990)
  match(shown, /^\ra\ufffdfile +50% +976\.6 KB +976\.6 KB\/s$/)
  progress.moved(1_000_000)
  progress.end()
  match(shown, /100% +1\.9 MB .*\n$/)
})
