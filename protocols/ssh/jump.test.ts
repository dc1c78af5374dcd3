// The outer SSH of a jump as a client of ours sees it, over a pair of streams: the list of nodes, its formats, what is no command here,
// and a reader that is slow or leaves.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { ProxyError } from '../../core/errors.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import type { JumpServices, ListedNode, NodeList } from '../../core/ssh/services.ts'
import { streamPair } from '../../test/fake/stream.ts'
import { FakeTimers } from '../../workers/timers.ts'
import { serveJump } from './jump.ts'
import type { SshChannel } from './transport/channel.ts'
import { type Connected, connectSsh } from './transport/connect.ts'
import { hostVerifier } from './transport/host-key.ts'
import { certificate, HOST, HOST_CA, keyOf, userKey } from './transport/pair.fixture.ts'

const WEB: ListedNode = {
  name: 'web-1',
  host: 'web-1.example.com',
  address: '',
  online: true,
  logins: ['deploy'],
  labels: { env: 'prod' },
}
const LIST: NodeList = {
  nodes: [WEB, { ...WEB, name: 'web-2', host: 'web-2.example.com', online: false }],
  cut: false,
  via: 'example.com:443',
}

interface Heard {
  readonly out: string
  readonly err: string
  readonly exit: SshChannel['exit']
}

async function connected(list: JumpServices['list']): Promise<Connected['connection']> {
  const timers = new FakeTimers()
  const [near, far] = streamPair()
  const services: JumpServices = {
    timers,
    hostKeys: [
      {
        certificate: certificate(keyOf('ed25519'), { kind: 'host' }),
        key: keyOf('ed25519'),
      },
    ],
    admit: () => Promise.resolve(undefined),
    unproved: () => undefined,
    open: () => Promise.reject(new ProxyError('policy.denied', 'no node')),
    list,
  }
  void serveJump(far, services, new AbortController().signal)
  const verifyHost = hostVerifier([publicBlob(HOST_CA)], HOST, Date.now)
  const client = await connectSsh({
    stream: near,
    timers,
    user: 'anybody',
    key: userKey(),
    verifyHost,
  })
  return client.connection
}

interface Asking {
  readonly command?: string
  readonly terminal?: boolean
}

async function asked(
  connection: Connected['connection'],
  { command, terminal = false }: Asking = {},
): Promise<SshChannel> {
  const channel = await connection.open({ kind: 'session' })
  const size = { columns: 80, rows: 24, width: 0, height: 0 }
  if (terminal)
    assert.ok(await channel.request({ kind: 'pty', term: 'xterm', size, modes: Buffer.of(0) }))
  assert.ok(
    await channel.request(
      command === undefined ? { kind: 'shell' } : { kind: 'exec', command: Buffer.from(command) },
    ),
  )
  return channel
}

async function heard(channel: SshChannel): Promise<Heard> {
  const said = { out: '', err: '' }
  for (let data = await channel.read(); data !== undefined; data = await channel.read())
    said[data.stderr ? 'err' : 'out'] += Buffer.from(data.bytes).toString()
  await channel.closed
  return { ...said, exit: channel.exit }
}

async function said(list: NodeList, asking?: Asking): Promise<Heard> {
  const connection = await connected(() => Promise.resolve(list))
  try {
    return await heard(await asked(connection, asking))
  } finally {
    connection.end()
  }
}

const DONE = { kind: 'status', code: 0 }
const FAILED = { kind: 'status', code: 1 }

describe('whoever opens a session at a jump', () => {
  it('reads which nodes they may reach and how to go on, whether with a shell or with ls', async () => {
    const text = [
      'Node Name Address Host              Labels',
      '--------- ------- ----------------- --------',
      'web-1     ⟵ Agent web-1.example.com env=prod',
      'web-2     offline web-2.example.com env=prod',
      '',
      'Go on with: ssh -J example.com:443 LOGIN@HOST, or tsh ssh LOGIN@NODE',
      '',
    ]
    for (const command of [undefined, 'ls', '  ls  --format=text ']) {
      const asking = command === undefined ? {} : { command }
      assert.deepEqual(await said(LIST, asking), { out: text.join('\n'), err: '', exit: DONE })
      const there = await said(LIST, { ...asking, terminal: true })
      assert.deepEqual(there, { out: text.join('\r\n'), err: '', exit: DONE })
    }
  })

  it('reads that there are none, or more than are shown', async () => {
    const { out, exit } = await said({ ...LIST, nodes: [] })
    assert.match(out, /^No nodes that your roles let you see\.\n\n.*administrator\.\n$/)
    assert.deepEqual(exit, DONE)
    assert.match((await said({ ...LIST, cut: true })).out, /\nThere are more: tsh ls --search/)
  })

  it('has names alone, or JSON, by --format', async () => {
    const names = await said(LIST, { command: 'ls --format=names' })
    assert.deepEqual(names, { out: 'web-1\nweb-2\n', err: '', exit: DONE })
    const json = await said(LIST, { command: 'ls --format=json' })
    assert.deepEqual(JSON.parse(json.out), LIST.nodes)
  })

  it('meets nothing that their terminal would obey', async () => {
    const labels = { note: '\u001b]0;owned\u0007\u009b31m\u202e' }
    const hostile = { ...WEB, name: 'a\u001b[2J', address: '\u009b1m:22', labels }
    const list = { ...LIST, nodes: [hostile] }
    for (const format of ['text', 'names', 'json']) {
      const { out } = await said(list, { command: `ls --format=${format}` })
      assert.doesNotMatch(out.replaceAll('\n', ''), /[\p{Cc}\p{Cf}]/u, format)
      if (format === 'json') assert.deepEqual(JSON.parse(out), [hostile])
    }
  })

  it('is refused every other command, with a next step and status 1', async () => {
    const list = (): Promise<NodeList> => assert.fail('nothing is listed')
    const connection = await connected(list)
    for (const command of ['id', 'ls -l', 'ls --format=yaml', 'ls --format=json x', 'lsx', '']) {
      const { out, err, exit } = await heard(await asked(connection, { command }))
      assert.deepEqual([out, exit], ['', FAILED], command)
      assert.match(err, /^\r\nSluice: .*"ls" lists .*ssh -J.*\r\n$/)
    }
    connection.end()
  })

  it('hears why there is no list, and has one program for a channel', async () => {
    const reason = 'lock targeting User:"alice" is in force. Ask an administrator.'
    const connection = await connected(() =>
      Promise.reject(new ProxyError('policy.denied', reason)),
    )
    const channel = await asked(connection)
    assert.equal(await channel.request({ kind: 'shell' }), false)
    assert.equal(await channel.request({ kind: 'subsystem', name: 'sftp' }), false)
    const { err, exit } = await heard(channel)
    assert.match(err, /your nodes cannot be listed: lock targeting User:"alice" is in force/)
    assert.deepEqual(exit, FAILED)
    connection.end()
  })

  it('is written no more than they read, holds one list at a time, and may leave in the middle of it', async () => {
    const long = { ...WEB, host: 'x'.repeat(5000) }
    const nodes = Array.from({ length: 1000 }, (_, at) => ({ ...long, name: `web-${at}` }))
    const connection = await connected(() => Promise.resolve({ ...LIST, nodes }))
    const first = await asked(connection)
    const second = await heard(await asked(connection))
    assert.match(second.err, /one list at a time/)
    assert.deepEqual(second.exit, FAILED)
    first.close()
    await first.closed
    const { out, exit } = await heard(await asked(connection))
    assert.deepEqual(exit, DONE)
    assert.ok(out.length > 5_000_000)
    connection.end()
  })
})
