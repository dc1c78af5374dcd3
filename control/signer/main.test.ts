// The signer as control meets it: behind its socket. Answers and refusals cross unchanged, a restart is survived, nonsense
// ends a connection and nothing else, and what the wire would carry is never a private key.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { chmodSync, lstatSync, mkdirSync, statSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import path from 'node:path'
import { describe, test, type TestContext } from 'node:test'

import { buildCsr } from '../../core/cert/csr.ts'
import { generateKey } from '../../core/cert/key.ts'
import { checkpointBody, verifySigned } from '../../core/cert/signed.ts'
import { permitBody } from '../../core/permit.ts'
import { FakeClock } from '../../core/clock.ts'
import { errorCode, ProxyError } from '../../core/errors.ts'
import { silentLogger } from '../../core/log.ts'
import { CLUSTER, systemIdentity, userIdentity } from '../../test/fixtures/certificates.ts'
import { atEnd, temporaryFolder } from '../../test/fixtures/files.ts'
import { NODE_FLAGS, start } from '../../test/fixtures/processes.ts'
import { connectSigner, type SignerClient } from './client.ts'
import { type SignerHandle, type SignerProcessOptions, startSigner } from './main.ts'

const clock = new FakeClock(Date.UTC(2026, 10, 20))
const HOUR = 3_600_000
const key = generateKey('ecdsa-p256').signer
const csr = buildCsr('x', key)
const { spki } = key

interface Running {
  readonly options: SignerProcessOptions
  readonly handle: SignerHandle
  readonly client: SignerClient
}

async function optionsFor(t: TestContext): Promise<SignerProcessOptions> {
  const outer = await temporaryFolder(t)
  mkdirSync(path.join(outer, 's'), { mode: 0o700 })
  const socketPath = path.join(outer, 's', 'signer.sock')
  const folder = path.join(outer, 'keys')
  return { folder, socketPath, cluster: CLUSTER, insecureKeys: true, clock, log: silentLogger }
}

async function run(t: TestContext): Promise<Running> {
  const options = await optionsFor(t)
  const handle = await startSigner(options)
  const client = connectSigner(options.socketPath)
  atEnd(t, () => handle.close())
  atEnd(t, () => client.close())
  return { options, handle, client }
}

const isUnavailable = (error: unknown): boolean => errorCode(error) === 'signer.unavailable'

describe('over the socket', () => {
  test('every template answers as it does in process', async (t) => {
    const { client } = await run(t)
    const authorities = await client.authorities()
    assert.equal(authorities.cluster, CLUSTER)
    assert.equal(authorities.insecureKeys, true)
    const names = [{ label: 'orders', kindLabel: 'db' }]
    const agent = systemIdentity('agent')
    const issued = await Promise.all([
      client.user({ identity: userIdentity(), spki, ttlMs: HOUR }),
      client.host({ identity: agent, csr, ttlMs: HOUR, dnsNames: [`n.${CLUSTER}`] }),
      client.host({ identity: systemIdentity('proxy'), csr, ttlMs: HOUR, publicHost: 'a.example' }),
      client.host({ identity: systemIdentity('control'), csr, ttlMs: HOUR, self: true }),
      client.target({ names, csr, agentId: agent.id }),
      client.dbClient({ target: 'orders', principal: 'reader', spki, ttlMs: HOUR }),
      client.dbClient({ target: 'orders', principal: 'reader', spki }),
      client.dbServer({ hosts: ['localhost'], spki, ttlMs: HOUR }),
    ])
    const cas = issued.map(({ ca }) => ca)
    const machines = ['host', 'host', 'host', 'target']
    assert.deepEqual(cas, ['user', ...machines, 'db_client', 'db_client', 'db'])
    assert.ok(Buffer.from(issued[2]?.certificate ?? []).includes('a.example'))
    assert.equal(new Set(issued.map(({ facts }) => facts.serial)).size, issued.length)
    assert.equal(issued[0]?.facts.notAfterMs, clock.now() + HOUR)
  })

  test('signatures verify under the public keys that the signer tells', async (t) => {
    const { client } = await run(t)
    const { snapshot, audit } = await client.authorities()
    const body = Buffer.alloc(3_000_000, 'x')
    const signature = await client.signSnapshot({ type: 'inventory', body })
    assert.ok(verifySigned('inventory', body, signature, snapshot))
    const checkpoint = checkpointBody({ writer: 'c', count: 1, head: '0'.repeat(64), timeMs: 1 })
    assert.ok(
      verifySigned('checkpoint', checkpoint, await client.signCheckpoint(checkpoint), audit),
    )
    const permit = permitBody({
      certificate: '0'.repeat(64),
      target: { kind: 'db', name: 'orders' },
      proxyId: systemIdentity('proxy').id,
      expiresAtMs: clock.now() + HOUR,
    })
    assert.ok(verifySigned('permit', permit, await client.signPermit(permit), snapshot))
  })

  test('a refusal keeps its code and its sentence', async (t) => {
    const { client } = await run(t)
    const asked = client.user({ identity: userIdentity(), spki, ttlMs: 31 * HOUR })
    await assert.rejects(asked, (error) => {
      assert.ok(error instanceof ProxyError)
      assert.equal(error.code, 'signer.refused')
      assert.match(error.message, /lifetime/)
      return true
    })
    await client.authorities()
  })

  test('five hundred requests at once are all answered, each with its own', async (t) => {
    const { client } = await run(t)
    const users = Array.from({ length: 500 }, (_, n) => `user-${n}`)
    const issued = await Promise.all(
      users.map((name) => client.user({ identity: userIdentity({ name }), spki, ttlMs: HOUR })),
    )
    issued.forEach(({ certificate }, n) => {
      assert.ok(Buffer.from(certificate).includes(`"name":"user-${n}"`))
    })
  })

  test('nothing the signer says holds a private key', async (t) => {
    const { options } = await run(t)
    const socket = await raw(t, options.socketPath)
    socket.write('{"id":1,"request":{"kind":"authorities"}}\n')
    const answer = await line(socket)
    assert.doesNotMatch(answer, /PRIVATE|MIGHAgEA|MC4CAQA/)
    assert.match(answer, /"cluster":"sluice.test"/)
  })
})

describe('the socket', () => {
  test('is for the owner and the group alone, in a folder that must be closed to others', async (t) => {
    const options = await optionsFor(t)
    chmodSync(path.dirname(options.socketPath), 0o705)
    await assert.rejects(startSigner(options), isUnavailable)
    chmodSync(path.dirname(options.socketPath), 0o710)
    const handle = await startSigner(options)
    atEnd(t, () => handle.close())
    assert.equal(statSync(options.socketPath).mode & 0o777, 0o660)
  })

  test('of a signer that was killed does not stop the next one, which has the same keys', async (t) => {
    const options = await optionsFor(t)
    const { folder, socketPath, cluster } = options
    const main = JSON.stringify(path.join(import.meta.dirname, 'main.ts'))
    const given = JSON.stringify({ folder, socketPath, cluster, insecureKeys: true })
    const log = '{ info() {}, warn() {}, error() {}, debug() {} }'
    const program = `const { startSigner } = await import(${main})
      await startSigner({ ...${given}, log: ${log} })
      console.log('listens')`
    const flags = [...NODE_FLAGS, '--input-type=module', '-e', program]
    const child = start(t, process.execPath, flags)
    await child.line(/listens/)
    const client = connectSigner(socketPath)
    atEnd(t, () => client.close())
    const before = await client.authorities()
    await child.kill('SIGKILL')
    assert.ok(lstatSync(socketPath).isSocket())
    const handle = await startSigner(options)
    atEnd(t, () => handle.close())
    assert.deepEqual(await client.authorities(), before)
  })

  test('does not take the place of a file', async (t) => {
    const options = await optionsFor(t)
    writeFileSync(options.socketPath, 'precious')
    await assert.rejects(startSigner(options), isUnavailable)
    assert.ok(lstatSync(options.socketPath).isFile())
  })
})

describe('nonsense', () => {
  const unnumbered = ['\n', 'hello\n', '{"request":{"kind":"authorities"},"id":1}\n', '[]\n']
  for (const text of unnumbered)
    test(`${JSON.stringify(text)} ends its connection and no other`, async (t) => {
      const { options, client } = await run(t)
      const socket = await raw(t, options.socketPath)
      const closed = once(socket, 'close')
      socket.write(text)
      await closed
      await client.authorities()
    })

  const bad: Readonly<Record<string, string>> = {
    'no request': '{"id":7,"x":1}',
    'a request that is no object': '{"id":7,"request":[]}',
    'an unknown template': '{"id":7,"request":{"kind":"sign"}}',
    'a template by an inherited name': '{"id":7,"request":{"kind":"toString"}}',
    'a to-be-signed part': '{"id":7,"request":{"kind":"user","tbs":"MAA="}}',
    'half a line of JSON': '{"id":7,"request":{"kind":',
    'base64 with a stray character':
      '{"id":7,"request":{"kind":"sign-snapshot","type":"beacon","body":"AA*A"}}',
    'a body that is a number': '{"id":7,"request":{"kind":"sign-checkpoint","body":1}}',
    'a snapshot type nobody knows':
      '{"id":7,"request":{"kind":"sign-snapshot","type":"checkpoint","body":""}}',
    'a user that is a system': `{"id":7,"request":{"kind":"user","identity":${JSON.stringify(
      systemIdentity('control'),
    )},"spki":"","ttlMs":1000}}`,
    'a host that is a user': `{"id":7,"request":{"kind":"host","identity":${JSON.stringify(
      userIdentity(),
    )},"csr":"","ttlMs":1000,"self":true}}`,
    'a flag that is text': `{"id":7,"request":{"kind":"host","identity":${JSON.stringify(
      systemIdentity('control'),
    )},"csr":"","ttlMs":1000,"self":"yes"}}`,
  }
  for (const [what, text] of Object.entries(bad))
    test(`${what} is refused under its number, and the connection goes on`, async (t) => {
      const { options } = await run(t)
      const socket = await raw(t, options.socketPath)
      socket.write(`${text}\n`)
      assert.match(await line(socket), /^\{"id":7,"error":\{"code":"signer\.refused"/)
      socket.write('{"id":8,"request":{"kind":"authorities"}}\n')
      assert.match(await line(socket), /^\{"id":8,"answer":/)
    })
})

describe('a signer that is away', () => {
  test('shows as unavailable when the deadline is over', async (t) => {
    const { socketPath } = await optionsFor(t)
    const client = connectSigner(socketPath, { deadlineMs: 50 })
    atEnd(t, () => client.close())
    await assert.rejects(client.authorities(), isUnavailable)
  })

  test('is waited for: a request asked before the start is answered after it', async (t) => {
    const options = await optionsFor(t)
    const client = connectSigner(options.socketPath)
    const asked = client.authorities()
    const handle = await startSigner(options)
    atEnd(t, () => handle.close())
    atEnd(t, () => client.close())
    assert.equal((await asked).cluster, CLUSTER)
  })

  test('comes back with the same keys, and the client with it', async (t) => {
    const { options, handle, client } = await run(t)
    const before = await client.authorities()
    await handle.close()
    // The first request may still go into the dying connection; its error says `retry`.
    const asked = client.authorities().catch((error: unknown) => {
      assert.ok(error instanceof ProxyError && error.retry)
      return client.authorities()
    })
    const next = await startSigner(options)
    atEnd(t, () => next.close())
    assert.deepEqual(await asked, before)
  })

  test('in the middle of a request fails that request at once, and does not ask it twice', async (t) => {
    const { socketPath } = await optionsFor(t)
    const lines: string[] = []
    const server = createServer((socket) => {
      socket.once('data', (chunk) => {
        lines.push(chunk.toString())
        socket.destroy()
      })
    })
    server.listen(socketPath)
    await once(server, 'listening')
    const client = connectSigner(socketPath)
    atEnd(t, () => void server.close())
    atEnd(t, () => client.close())
    await assert.rejects(client.authorities(), /went away before it answered/)
    await assert.rejects(client.signCheckpoint(Uint8Array.of(1)), isUnavailable)
    assert.equal(lines.length, 2)
    assert.match(lines[0] ?? '', /authorities/)
    assert.match(lines[1] ?? '', /sign-checkpoint/)
  })

  test('is told each request once, however many follow before it answers', async (t) => {
    const { socketPath } = await optionsFor(t)
    const server = createServer((socket) => {
      let text = ''
      socket.on('error', () => {})
      socket.on('data', (chunk) => {
        text += chunk.toString()
        if (text.includes('"id":2')) server.emit('two')
        if (!text.includes('"id":3')) return
        const numbers = text.match(/"id":\d/g)
        socket.end(`{"id":3,"error":{"code":"signer.refused","message":"${numbers?.length}"}}\n`)
      })
    })
    server.listen(socketPath)
    await once(server, 'listening')
    const client = connectSigner(socketPath)
    atEnd(t, () => void server.close())
    atEnd(t, () => client.close())
    const first = [client.authorities(), client.authorities()]
    const failed = Promise.allSettled(first)
    await once(server, 'two')
    await assert.rejects(client.authorities(), /^ProxyError: 3$/)
    await failed
  })

  test('answers nonsense: the connection is given up', async (t) => {
    const { socketPath } = await optionsFor(t)
    const answers = ['x\n', '{"id":1}\n', '{"id":3,"answer":{"kind":"issued","ca":"root"}}\n']
    const server = createServer((socket) => {
      socket.on('error', () => {})
      socket.once('data', () => socket.write(answers.shift() ?? ''))
    })
    server.listen(socketPath)
    await once(server, 'listening')
    const client = connectSigner(socketPath)
    atEnd(t, () => void server.close())
    atEnd(t, () => client.close())
    for (let round = 0; round < 3; round++)
      await assert.rejects(client.authorities(), isUnavailable)
  })

  test('leaves no more than the bound waiting, and close fails what waits', async (t) => {
    const { socketPath } = await optionsFor(t)
    const client = connectSigner(socketPath)
    const waiting = Array.from({ length: 1024 }, () => client.authorities())
    await assert.rejects(client.authorities(), { code: 'limit.exceeded' })
    const failed = Promise.allSettled(waiting)
    await client.close()
    for (const one of await failed) {
      assert.ok(one.status === 'rejected')
      assert.match(String(one.reason), /is closed/)
    }
    await assert.rejects(client.authorities(), isUnavailable)
  })
})

async function raw(t: TestContext, socketPath: string): Promise<Socket> {
  const socket = connect(socketPath)
  socket.on('error', () => {})
  atEnd(t, () => void socket.destroy())
  await once(socket, 'connect')
  return socket
}

/** The next answer; a test asks one thing at a time, so lines do not mix. */
async function line(socket: Socket): Promise<string> {
  let text = ''
  while (!text.endsWith('\n')) {
    const chunks: readonly unknown[] = await once(socket, 'data')
    text += String(chunks[0])
  }
  return text
}
