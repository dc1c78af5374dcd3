// `tctl nodes` and what `tctl auth` does for SSH: what is printed and written, and what control is asked.

import { deepEqual, equal, match, rejects } from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import type { TargetStatus } from '../../control/api/messages.ts'
import { openSigner } from '../../control/signer/signer.ts'
import { loadConfig } from '../../control/config.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { run } from '../../test/fixtures/processes.ts'
import { configText } from '../commands/configure.ts'
import { EXIT } from '../exit.ts'
import {
  type Answers,
  FakeControl,
  type FakeTools,
  fakeTools,
  loggedIn,
  PIN,
  runCommand,
} from '../tools.fixture.ts'
import { TCTL } from './table.ts'

const HOUR_MS = 3_600_000

async function scene(
  t: TestContext,
  answers: Answers,
): Promise<{ tools: FakeTools; control: FakeControl }> {
  const control = new FakeControl(answers)
  const tools = await fakeTools(t, { control })
  await loggedIn(tools)
  return { tools, control }
}

function node(name: string, over: Partial<TargetStatus> = {}): TargetStatus {
  return {
    kind: 'node',
    name,
    label: name,
    protocol: 'ssh',
    labels: { env: 'prod' },
    owner: 'agent-1',
    agents: ['agent-1'],
    status: 'unknown',
    reason: '',
    online: true,
    servers: [],
    refused: [],
    ...over,
  }
}

const ITEMS = [
  node('web-1', { refused: [{ agent: 'agent-2', atMs: 0, reason: 'it is taken' }] }),
  node('old', { agents: [], address: '10.0.0.7:22', labels: { env: 'dev' } }),
  node('orders', { kind: 'db' }),
]

test('nodes are listed with their agent or address, and claims that were turned away', async (t) => {
  const { tools } = await scene(t, { targets: () => ({ items: ITEMS }) })
  await runCommand(TCTL, tools, 'nodes ls')
  const text = tools.printed()
  match(text, /\nweb-1 +agent-1 +agent +env=prod +online\n/)
  match(text, /\nold +10\.0\.0\.7:22 +openssh +env=dev +online\n/)
  match(text, /\nTurned away: web-1 by agent agent-2 at .*: it is taken\n/)
  equal(text.includes('orders'), false)
})

test('nodes are found by words and by labels', async (t) => {
  const { tools } = await scene(t, { targets: () => ({ items: ITEMS }) })
  const names = async (
    args: readonly string[],
    options: Record<string, string>,
  ): Promise<unknown> => {
    const from = tools.printed().length
    await runCommand(TCTL, tools, 'nodes ls', args, { ...options, format: 'json' })
    const nodes = JSON.parse(tools.printed().slice(from)) as readonly TargetStatus[]
    return nodes.map(({ name }) => name)
  }
  deepEqual(await names([], {}), ['web-1', 'old'])
  deepEqual(await names(['env=dev'], {}), ['old'])
  deepEqual(await names([], { search: '10.0.0' }), ['old'])
  deepEqual(await names([], { search: 'web prod' }), ['web-1'])
  deepEqual(await names(['env=dev'], { search: 'web' }), [])
  const query = 'labels["env"] == "dev" || name == "web-1" && resource.spec.addr != ""'
  deepEqual(await names([], { query }), ['old'])
  deepEqual(await names([], { query: 'hasPrefix(name, "web")', search: 'prod' }), ['web-1'])
  deepEqual(await names(['env=dev'], { query: 'hasPrefix(name, "web")' }), [])
  await rejects(runCommand(TCTL, tools, 'nodes ls', ['env']), { status: EXIT.usage })
  await rejects(runCommand(TCTL, tools, 'nodes ls', [], { query: 'name ==' }), {
    status: EXIT.usage,
    message: /^--query is wrong at column 8: /,
    next: /^An example: /,
  })
})

test('another machine is told what to run, with a token for nodes alone', async (t) => {
  const { tools, control } = await scene(t, {
    'token-create': () => ({
      token: 'abcdef',
      proxies: ['proxy.example.com:443'],
      pins: [PIN],
      expiresAtMs: tools.clock.now() + HOUR_MS,
    }),
  })
  await runCommand(TCTL, tools, 'nodes add', [], { ttl: '1h' })
  deepEqual(control.request('token-create'), { roles: ['node'], ttlMs: HOUR_MS })
  match(
    tools.printed(),
    new RegExp(
      `sluice configure --roles=node --proxy=proxy.example.com:443 --token=abcdef --ca-pin=${PIN}`,
    ),
  )
})

test('the file of such a machine runs the SSH service alone', () => {
  const text = configText({ roles: 'node', proxy: 'proxy.example.com:443', token: 'x' })
  const config = loadConfig(text, 'sluice.yaml')
  equal(config.ssh_service.enabled, true)
  equal(config.db_service.enabled, false)
  equal(config.auth_service.enabled, false)
  equal(loadConfig(configText({ roles: 'db' }), 'sluice.yaml').ssh_service.enabled, false)
})

test('an sshd gets a key, a host certificate that ssh-keygen reads, and the CA to trust', async (t) => {
  const folder = await temporaryFolder(t)
  const signer = await openSigner({ folder, cluster: 'sluice.test', insecureKeys: true })
  const { tools, control } = await scene(t, {
    'auth-sign-ssh-host': async ({ hosts, publicKey, ttlMs }) => {
      const key = Buffer.from(publicKey, 'base64')
      const issued = await signer.sshHost({
        id: 'old',
        publicKey: key,
        hosts,
        ttlMs,
        enrolled: true,
      })
      const certificate = Buffer.from(issued.certificate).toString('base64')
      return { certificate, expiresAtMs: issued.facts.notAfterMs }
    },
    'auth-export': () => ({ pem: 'ssh-ed25519 AAAA sluice.test\n' }),
  })
  const out = path.join(tools.folder, 'ssh_host_sluice_key')
  const options = { format: 'openssh', host: ['old.example.com'], out }
  await runCommand(TCTL, tools, 'auth sign', [], options)
  equal(control.request('auth-sign-ssh-host')?.ttlMs, 2190 * HOUR_MS)
  equal(statSync(out).mode & 0o777, 0o600)
  equal(readFileSync(`${out}-ca.pub`, 'utf8'), 'ssh-ed25519 AAAA sluice.test\n')
  const { stdout: shown } = await run('ssh-keygen', ['-L', '-f', `${out}-cert.pub`])
  match(shown, /host certificate[\s\S]*old\.example\.com/)
  // The certificate is of the key beside it, and sshd's own reader takes that key.
  const { stdout: half } = await run('ssh-keygen', ['-y', '-f', out])
  const { stdout: print } = await run('ssh-keygen', ['-l', '-f', `${out}-cert.pub`])
  const fingerprint = await fingerprintOf(half, path.join(folder, 'half.pub'))
  match(print, new RegExp(fingerprint.replaceAll(/[+/]/g, '.')))
  match(tools.printed(), /HostCertificate \/etc\/ssh\/ssh_host_sluice_key-cert\.pub/)
  await rejects(runCommand(TCTL, tools, 'auth sign', [], options), /is there already/)
})

async function fingerprintOf(publicKey: string, file: string): Promise<string> {
  const { writeFileSync } = await import('node:fs')
  writeFileSync(file, publicKey)
  const { stdout } = await run('ssh-keygen', ['-l', '-f', file])
  return /SHA256:\S+/.exec(stdout)?.[0] ?? 'none'
}

test('nothing is written when control refuses to certify an sshd', async (t) => {
  const { tools } = await scene(t, {
    'auth-sign-ssh-host': () => Promise.reject(new Error('no')),
    'auth-export': () => ({ pem: '' }),
  })
  const out = path.join(tools.folder, 'key')
  const options = { format: 'openssh', host: ['a'], out }
  await rejects(runCommand(TCTL, tools, 'auth sign', [], options))
  equal(existsSync(out), false)
})
