import { equal, rejects } from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { open } from 'node:fs/promises'
import path from 'node:path'
import { test } from 'node:test'

import { max } from '../../core/limits.ts'
import { string, u32 } from '../../core/ssh/bytes.ts'
import { REQUEST, RESPONSE } from '../../core/ssh/sftp.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { SftpClient } from './client.ts'
import { Frames, readAnswer, writeRequest } from './codec.ts'
import { names, packet, ScriptedServer, status } from './server.fixture.ts'
import { download, upload } from './transfer.ts'

test('requests wait in a bounded number, and are answered in whatever order', async (t) => {
  const file = await open(path.join(await temporaryFolder(t), 'a'), 'w+')
  const bytes = randomBytes(500 * 32_768)
  const held: (() => void)[] = []
  let most = 0
  const server: ScriptedServer = new ScriptedServer(({ id, fields }) => {
    fields.string()
    const at = Number(fields.u64())
    const part = bytes.subarray(at, at + fields.u32())
    const answer = part.length === 0 ? status(id, 1) : packet(RESPONSE.data, u32(id), string(part))
    held.push(() => server.say(answer))
    most = Math.max(most, held.length)
    // The last that came is answered first, once no more can come.
    if (held.length === max('sftpRequestsMax') || at >= bytes.length - 64 * 32_768)
      setImmediate(() => {
        for (const each of held.splice(0).reverse()) each()
      })
    return undefined
  })
  const client = await SftpClient.start(server)
  const remote = { client, path: 'a', handle: Uint8Array.of(1) }
  equal(await download(remote, file, bytes.length, () => undefined), bytes.length)
  equal((await file.stat()).size, bytes.length)
  const { buffer } = await file.read(Buffer.alloc(bytes.length), 0, bytes.length, 0)
  equal(Buffer.compare(buffer, bytes), 0)
  equal(most, max('sftpRequestsMax'))
  await file.close()
})

test('a server that answers in small pieces, or has less than it said, is seen through', async (t) => {
  const file = await open(path.join(await temporaryFolder(t), 'a'), 'w+')
  const bytes = randomBytes(70_000)
  const server = new ScriptedServer(({ id, fields }) => {
    fields.string()
    const at = Number(fields.u64())
    const part = bytes.subarray(at, at + Math.min(1000, fields.u32()))
    return part.length === 0 ? status(id, 1) : packet(RESPONSE.data, u32(id), string(part))
  })
  const remote = { client: await SftpClient.start(server), path: 'a', handle: Uint8Array.of(1) }
  equal(await download(remote, file, bytes.length, () => undefined), bytes.length)
  await rejects(
    download(remote, file, 70_001, () => undefined),
    /became shorter/,
  )
  await file.close()
})

test('a write that the server lost is found out', async (t) => {
  const file = await open(path.join(await temporaryFolder(t), 'a'), 'w+')
  await file.write(randomBytes(100_000))
  const server = new ScriptedServer(({ id, type }) =>
    type === REQUEST.fstat
      ? packet(RESPONSE.attrs, u32(id), u32(1), u32(0), u32(99_999))
      : status(id, 0),
  )
  const remote = { client: await SftpClient.start(server), path: 'a', handle: Uint8Array.of(1) }
  await rejects(
    upload(file, remote, 100_000, () => undefined),
    /99999 of 100000 bytes arrived/,
  )
  await file.close()
})

test('what no server may say ends the client: every request fails, none waits for ever', async () => {
  for (const said of [
    Buffer.concat([u32(max('sftpPacketBytesMax') + 1), Uint8Array.of(RESPONSE.status)]),
    status(77, 0),
    packet(RESPONSE.status, u32(1)),
    packet(99, u32(1)),
    packet(RESPONSE.name, u32(1), u32(0xffff_ffff)),
  ]) {
    const server: ScriptedServer = new ScriptedServer(() => said)
    const client = await SftpClient.start(server)
    await rejects(client.stat('a'), { code: 'protocol.violation' })
    await rejects(client.stat('a'), { code: 'protocol.violation' })
  }
})

test('the end of the channel is the end of every request', async () => {
  const server = new ScriptedServer(() => undefined)
  const client = await SftpClient.start(server)
  const asked = client.stat('a')
  server.end()
  await rejects(asked, { code: 'dial.failed' })
  await rejects(client.stat('a'), { code: 'dial.failed' })
})

test('a server without version 3, and one that lists without an end, are refused', async () => {
  const old = new ScriptedServer(() => undefined)
  const started = SftpClient.start({
    read: () => Promise.resolve({ bytes: packet(RESPONSE.version, u32(2)), stderr: false }),
    write: (bytes) => old.write(bytes),
  })
  await rejects(started, /it speaks version 2/)
  const answers = (entries: (id: number) => Uint8Array) => (asked: { id: number; type: number }) =>
    asked.type === REQUEST.readdir
      ? entries(asked.id)
      : asked.type === REQUEST.opendir
        ? packet(RESPONSE.handle, u32(asked.id), string('h'))
        : status(asked.id, 0)
  const silent = await SftpClient.start(new ScriptedServer(answers((id) => names(id))))
  await rejects(silent.list('a'), /without an end/)
  const many = Array.from({ length: 1000 }, (_, at) => `n${at}`)
  const endless = await SftpClient.start(new ScriptedServer(answers((id) => names(id, ...many))))
  await rejects(endless.list('a'), /more entries than sftpNamesMax/)
})

test('messages are found at whatever byte the chunks end', () => {
  const stream = Buffer.concat([status(1, 0), names(2, 'a', 'ä'), status(3, 1)])
  for (let to = 0; to <= stream.length; to++) {
    const frames = new Frames()
    const ids: number[] = []
    for (const chunk of [stream.subarray(0, to), stream.subarray(to)]) {
      frames.push(chunk)
      for (let each = frames.next(); each !== undefined; each = frames.next())
        ids.push(readAnswer(each).id)
    }
    equal(ids.join(), '1,2,3', `split at ${to}`)
  }
})

test('a request is as the draft writes it', () => {
  const handle = Uint8Array.of(7)
  equal(
    Buffer.from(writeRequest(5, { kind: 'read', handle, at: 258n, length: 9 })).toString('hex'),
    '00000016' + '05' + '00000005' + '0000000107' + '0000000000000102' + '00000009',
  )
})
