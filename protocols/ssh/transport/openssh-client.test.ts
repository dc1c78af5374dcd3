// OpenSSH's own client against our server on loopback: host certificates of each kind under StrictHostKeyChecking, commands with
// status and errors, data both ways through changing keys, forwardings, sftp, and what it is refused.

import assert from 'node:assert/strict'
import { createHash, randomBytes, type KeyObject } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'

import { publicBlob } from '../../../core/ssh/key.ts'
import { privateFile, temporaryFolder } from '../../../test/fixtures/files.ts'
import { freePort, listen } from '../../../test/fixtures/net.ts'
import { run, start, type Output } from '../../../test/fixtures/processes.ts'
import { threadBuffers } from '../../../workers/buffers.ts'
import { SERVER_SIGNATURES } from './algorithms.ts'
import { opensshKeys } from './openssh.fixture.ts'
import { certificate, hostKey, HOST, HOST_CA, KEYS, keyOf, USER_CA } from './pair.fixture.ts'
import { testServer, type TestServer } from './serve.fixture.ts'

interface Client {
  readonly folder: string
  readonly args: readonly string[]
  ssh(args: readonly string[], input?: string): Promise<Output>
}

/** A client with a certificate for `key`, that trusts the host CA and nobody else. */
async function clientOf(
  t: TestContext,
  server: TestServer,
  change: { key?: string; ca?: KeyObject; hostCa?: KeyObject; user?: string } = {},
): Promise<Client> {
  const { key = 'ed25519', ca = USER_CA, hostCa = HOST_CA, user = 'alice' } = change
  const folder = await temporaryFolder(t)
  const identity = await opensshKeys(folder, keyOf(key), certificate(keyOf(key), {}, ca))
  const known = join(folder, 'known_hosts')
  const blob = Buffer.from(publicBlob(hostCa)).toString('base64')
  await writeFile(known, `@cert-authority ${HOST} ssh-ed25519 ${blob}\n`)
  const options = [
    `HostKeyAlias=${HOST}`,
    `UserKnownHostsFile=${known}`,
    'GlobalKnownHostsFile=/dev/null',
    'StrictHostKeyChecking=yes',
    'IdentitiesOnly=yes',
    'PasswordAuthentication=no',
    'LogLevel=ERROR',
    `IdentityFile=${identity}`,
    'ControlMaster=no',
  ]
  const args = ['-F', '/dev/null', '-l', user, ...options.flatMap((option) => ['-o', option])]
  return {
    folder,
    args,
    ssh: (more, input) =>
      run('/usr/bin/ssh', [...args, '-p', String(server.port), ...more], {
        env: { PATH: process.env['PATH'], LC_TEST: 'from the client' },
        ...(input === undefined ? {} : { input }),
      }),
  }
}

describe('OpenSSH’s client against our server', () => {
  for (const name of Object.keys(KEYS))
    it(`believes a ${name} host certificate and logs in with a ${name} one`, async (t) => {
      const server = await testServer(t, [hostKey(name)])
      const client = await clientOf(t, server, { key: name })
      const output = await client.ssh(['127.0.0.1', 'echo out; echo err >&2; exit 7'])
      assert.deepEqual(output, { code: 7, signal: null, stdout: 'out\n', stderr: 'err\n' })
      assert.match(server.handshakes[0]?.hostKey ?? '', /-cert-v01@openssh\.com$/)
    })

  it('is let in with rsa-sha2-256 alone, and with counter mode and its MACs', async (t) => {
    const server = await testServer(t, [hostKey('rsa')])
    const client = await clientOf(t, server, { key: 'rsa' })
    const plain = 'rsa-sha2-256,rsa-sha2-256-cert-v01@openssh.com'
    const ciphers = ['-c', 'aes192-ctr', '-o', `HostKeyAlgorithms=${plain}`]
    const output = await client.ssh([
      ...ciphers,
      '-o',
      `PubkeyAcceptedAlgorithms=${plain}`,
      '127.0.0.1',
      'echo yes',
    ])
    assert.equal(output.stdout, 'yes\n', output.stderr)
    assert.equal(server.handshakes[0]?.cipher, 'aes192-ctr')
    assert.equal(server.handshakes[0]?.hostKey, 'rsa-sha2-256-cert-v01@openssh.com')
  })

  for (const cipher of ['aes128-gcm@openssh.com', 'aes128-ctr'])
    it(`moves data both ways through keys of ${cipher} changed each megabyte`, async (t) => {
      const server = await testServer(t)
      const lent = threadBuffers.lent
      const client = await clientOf(t, server)
      const file = join(client.folder, 'data')
      const bytes = randomBytes(6_000_001)
      await writeFile(file, bytes)
      const sum = createHash('sha256').update(bytes).digest('hex')
      const log = join(client.folder, 'log')
      const noisy = [...client.args, '-v', '-E', log, '-c', cipher, '-o', 'RekeyLimit=1M']
      const ssh = ['/usr/bin/ssh', ...noisy, '-p', String(server.port), '127.0.0.1']
      const script = 'file=$1; shift; exec "$@" <"$file"'
      const up = await run('/bin/sh', ['-c', script, 'sh', file, ...ssh, 'sha256sum'])
      assert.equal(up.stdout, `${sum}  -\n`, up.stderr)
      const down = await run('/bin/sh', ['-c', '"$@" | sha256sum', 'sh', ...ssh, `cat ${file}`])
      assert.equal(down.stdout, `${sum}  -\n`, down.stderr)
      const said = await readFile(log, 'utf8')
      const keys = said.match(/SSH2_MSG_NEWKEYS received/g)
      assert.ok((keys?.length ?? 0) >= 10, `${keys?.length ?? 0} keys`)
      const algorithms = [...said.matchAll(/server-sig-algs=<(.*)>/g)].map((found) => found[1])
      // Once for each of the two connections, and as it should be.
      assert.deepEqual(algorithms, [SERVER_SIGNATURES.join(','), SERVER_SIGNATURES.join(',')])
      // Each of the two connections may still have the one that it reads into.
      const kept = threadBuffers.lent - lent
      assert.ok(kept <= 2, `${kept} buffers of reads kept`)
    })

  it('has its environment, terminal, signals of death and an empty input told', async (t) => {
    const server = await testServer(t)
    const client = await clientOf(t, server)
    const env = await client.ssh(['-o', 'SendEnv=LC_TEST', '127.0.0.1', 'echo $LC_TEST; cat'], '')
    assert.equal(env.stdout, 'from the client\n')
    const killed = await client.ssh(['127.0.0.1', 'kill -KILL $$'])
    assert.equal(killed.code, 255)
    const shell = await client.ssh(['-tt', '127.0.0.1'], 'echo typed\nexit 5\n')
    assert.equal(shell.code, 5, shell.stderr)
    assert.match(shell.stdout, /^0x0|^\d+x\d+/)
    assert.match(shell.stdout, /typed/)
    const kinds = server.requests.map(({ kind }) => kind)
    assert.deepEqual(kinds, ['env', 'exec', 'exec', 'pty', 'shell'])
  })

  it('copies files with sftp and scp', async (t) => {
    const server = await testServer(t)
    const client = await clientOf(t, server)
    const [from, to] = [join(client.folder, 'from'), join(client.folder, 'to')]
    await writeFile(from, randomBytes(300_000))
    const port = ['-P', String(server.port)]
    const options = client.args.filter((each, at, all) => each !== '-l' && all[at - 1] !== '-l')
    for (const old of [[], ['-O']]) {
      const paths = [from, `alice@127.0.0.1:${to}${old.length}`]
      const copied = await run('/usr/bin/scp', [...options, ...port, ...old, ...paths])
      assert.equal(copied.code, 0, copied.stderr)
      assert.deepEqual(await readFile(`${to}${old.length}`), await readFile(from))
    }
    assert.deepEqual(
      server.requests.map(({ kind }) => kind).filter((kind) => kind !== 'env'),
      ['subsystem', 'exec'],
    )
  })

  it('forwards ports both ways and its own standard streams', async (t) => {
    const server = await testServer(t)
    const client = await clientOf(t, server)
    const echo = await listen(t, (socket) => void socket.end('hello from behind\n'))
    const through = await client.ssh(['-W', `127.0.0.1:${echo.port}`, '127.0.0.1'])
    assert.equal(through.stdout, 'hello from behind\n', through.stderr)
    const refused = await client.ssh(['-W', `127.0.0.1:${await freePort()}`, '127.0.0.1'])
    assert.match(refused.stderr, /stdio forwarding failed/)
    const heard = Promise.withResolvers<string>()
    const back = await listen(t, (socket) => {
      socket.setEncoding('utf8').once('data', (text) => heard.resolve(String(text)))
    })
    const spec = `4000:127.0.0.1:${back.port}`
    const remote = start(t, '/usr/bin/ssh', [
      ...client.args,
      '-p',
      String(server.port),
      '-N',
      '-R',
      spec,
      '127.0.0.1',
    ])
    assert.equal(await heard.promise, 'hello through -R\n')
    await remote.kill()
  })

  it('is refused with a plain key, another CA’s certificate, as another user, without a key', async (t) => {
    const server = await testServer(t)
    const client = await clientOf(t, server)
    const id = await readFile(join(client.folder, 'id'), 'utf8')
    const plain = await privateFile(client.folder, 'plain', id)
    const alone = client.args.map((arg) =>
      arg.startsWith('IdentityFile=') ? `IdentityFile=${plain}` : arg,
    )
    const command = ['-p', String(server.port), '127.0.0.1', 'id']
    const outputs = [
      await run('/usr/bin/ssh', [...alone, ...command]),
      await (await clientOf(t, server, { ca: HOST_CA })).ssh(['127.0.0.1', 'id']),
      await (await clientOf(t, server, { user: 'bob' })).ssh(['127.0.0.1', 'id']),
      await client.ssh(['-o', 'PubkeyAuthentication=no', '127.0.0.1', 'id']),
    ]
    for (const output of outputs) {
      assert.equal(output.code, 255)
      assert.match(output.stderr, /Permission denied \(publickey\)/)
    }
    assert.deepEqual(server.handshakes, [])
  })

  it('does not believe a host of another CA', async (t) => {
    const server = await testServer(t)
    const client = await clientOf(t, server, { hostCa: USER_CA })
    const output = await client.ssh(['127.0.0.1', 'id'])
    assert.equal(output.code, 255)
    assert.match(output.stderr, /Host key verification failed/)
  })
})
