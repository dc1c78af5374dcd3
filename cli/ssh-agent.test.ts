import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import net from 'node:net'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'

import { buildSshCertificate } from '../core/cert/ssh.ts'
import { publicBlob, signBlob, verifyBlob } from '../core/ssh/key.ts'
import { atEnd, temporaryFolder } from '../test/fixtures/files.ts'
import { run, start } from '../test/fixtures/processes.ts'
import { findAgent, SshAgent } from './ssh-agent.ts'

const { privateKey } = generateKeyPairSync('ed25519')
const CA = generateKeyPairSync('ed25519').privateKey

function certificate(): Uint8Array {
  const seconds = BigInt(Math.floor(Date.now() / 1000))
  return buildSshCertificate(
    { blob: publicBlob(CA), sign: (bytes) => signBlob(CA, bytes) },
    {
      key: publicBlob(privateKey),
      serial: 1n,
      kind: 'user',
      keyId: 'alice',
      principals: ['alice'],
      validAfter: seconds - 60n,
      validBefore: seconds + 3600n,
      critical: {},
      extensions: {},
    },
    randomBytes(32),
  )
}

/** OpenSSH's own agent on a socket of the test. */
async function realAgent(t: TestContext): Promise<string> {
  const path = join(await temporaryFolder(t), 'agent')
  await start(t, 'ssh-agent', ['-D', '-a', path]).line(/SSH_AUTH_SOCK/)
  return path
}

/** An agent that answers everything with these bytes. */
async function fakeAgent(t: TestContext, answer: Uint8Array): Promise<SshAgent> {
  const path = join(await temporaryFolder(t), 'agent')
  const server = net.createServer((socket) => {
    socket.on('error', () => undefined)
    socket.once('data', () => socket.end(answer))
  })
  server.listen(path)
  await once(server, 'listening')
  atEnd(t, () => void server.close())
  return new SshAgent(path)
}

test('OpenSSH’s agent takes key and certificate, signs with either, and lets them go', async (t) => {
  const path = await realAgent(t)
  const agent = new SshAgent(path)
  const cert = certificate()
  await agent.add({ key: privateKey, certificate: cert, comment: 'a login', lifetimeSeconds: 60 })
  await agent.add({ key: privateKey, comment: 'a login', lifetimeSeconds: 60 })
  const { stdout } = await run('ssh-add', ['-l'], { env: { ...process.env, SSH_AUTH_SOCK: path } })
  match(stdout, /a login \(ED25519-CERT\)/)
  match(stdout, /a login \(ED25519\)/)
  const found = await agent.list()
  deepEqual(
    found.map(({ comment }) => comment),
    ['a login', 'a login'],
  )
  for (const blob of [cert, publicBlob(privateKey)]) {
    const data = randomBytes(100)
    const signature = await agent.sign(blob, data, 'ssh-ed25519')
    ok(verifyBlob(publicBlob(privateKey), data, signature))
    await agent.remove(blob)
  }
  deepEqual(await agent.list(), [])
  await rejects(agent.remove(cert), { code: 'dial.failed', message: /it refused/ })
  await rejects(agent.sign(cert, randomBytes(9), 'ssh-ed25519'), /it refused/)
})

test('an identity is gone when its lifetime is over, which the agent is told', async (t) => {
  const path = join(await temporaryFolder(t), 'agent')
  const told = Promise.withResolvers<Uint8Array>()
  const server = net.createServer((socket) => {
    socket.once('data', (bytes: Buffer) => {
      told.resolve(bytes)
      socket.end(Uint8Array.of(0, 0, 0, 1, 6))
    })
  })
  server.listen(path)
  await once(server, 'listening')
  atEnd(t, () => void server.close())
  await new SshAgent(path).add({ key: privateKey, comment: 'x', lifetimeSeconds: 258 })
  const bytes = await told.promise
  equal(bytes[4], 25)
  deepEqual([...bytes.subarray(-5)], [1, 0, 0, 1, 2])
})

test('answers that are too long, cut, empty or no answer are failures, and nothing is kept of them', async (t) => {
  for (const [answer, why] of [
    [Uint8Array.of(0xff, 0xff, 0xff, 0xff, 12), /sshAgentReplyBytesMax/],
    [Uint8Array.of(0, 0, 0, 5, 12), /closed the connection/],
    [Uint8Array.of(0, 0, 0, 0), /it refused/],
    [Uint8Array.of(0, 0, 0, 1, 5), /it refused/],
    [Uint8Array.of(), /closed the connection/],
    // It counts four billion identities and has none.
    [Uint8Array.of(0, 0, 0, 5, 12, 255, 255, 255, 255), /ends before its last field/],
  ] as const) {
    const agent = await fakeAgent(t, answer)
    await rejects(agent.list(), why)
  }
})

test('an agent is found by the environment, and only when it answers', async (t) => {
  const path = await realAgent(t)
  ok(await findAgent({ SSH_AUTH_SOCK: path }))
  equal(await findAgent({ SSH_AUTH_SOCK: `${path}-gone` }), undefined)
  equal(await findAgent({}), undefined)
  equal(await findAgent({ SSH_AUTH_SOCK: '' }), undefined)
})
