import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { generateKeyPairSync } from 'node:crypto'
import { existsSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { type TestContext, test } from 'node:test'

import type { Status } from '../../control/api/messages.ts'
import { ProxyError } from '../../core/errors.ts'
import { EXIT } from '../exit.ts'
import {
  type Answers,
  FakeControl,
  type FakeOptions,
  type FakeTools,
  fakeTools,
  loggedIn,
  PIN,
  runCommand,
} from '../tools.fixture.ts'
import { TCTL } from './table.ts'

const HOUR_MS = 3_600_000
const ID = '01K3Z5J8Q4N6R7S8T9V0W1X2Y3'

const ROLE = {
  kind: 'role',
  version: 'v7',
  metadata: { name: 'dba', revision: '7' },
  spec: { allow: { db_labels: { '*': ['*'] }, db_users: ['app'] }, deny: {} },
}
const ROLE_YAML = `kind: role
version: v7
metadata: {name: dba}
spec:
  allow: {db_labels: {'*': '*'}, db_users: [app]}
`

async function scene(
  t: TestContext,
  answers: Answers,
  options: Omit<FakeOptions, 'control'> = {},
): Promise<{ tools: FakeTools; control: FakeControl }> {
  const control = new FakeControl(answers)
  const tools = await fakeTools(t, { ...options, control })
  await loggedIn(tools)
  return { tools, control }
}

test('a new user’s invite is a link, and a command that needs no browser', async (t) => {
  const { tools, control } = await scene(t, {
    'user-create': () => ({
      invite: {
        url: 'https://proxy.example.com/web/invite/0123',
        token: '0123',
        expiresAtMs: tools.clock.now() + HOUR_MS,
      },
      pins: [PIN],
    }),
  })
  await runCommand(TCTL, tools, 'users add', ['bob'], {
    roles: ['access,editor'],
    dbUsers: ['reader', 'writer'],
    ttl: '2h',
  })
  deepEqual(control.request('user-create'), {
    name: 'bob',
    roles: ['access', 'editor'],
    traits: { db_users: ['reader', 'writer'] },
    ttlMs: 2 * HOUR_MS,
  })
  match(tools.printed(), /for 1h0m/)
  match(tools.printed(), /\n {2}https:\/\/proxy\.example\.com\/web\/invite\/0123\n/)
  match(
    tools.printed(),
    new RegExp(`tsh login --proxy=proxy\\.example\\.com:443 --ca-pin=${PIN} --invite=0123`),
  )
  await rejects(runCommand(TCTL, tools, 'users add', ['bob']), { status: EXIT.usage })
})

test('a reset gives an invite too, as JSON for programs', async (t) => {
  const reply = {
    invite: { url: 'https://p:1/web/invite/0', token: '0', expiresAtMs: 1 },
    pins: [],
  }
  const { tools, control } = await scene(t, { 'user-reset': () => reply })
  await runCommand(TCTL, tools, 'users reset', ['bob'], { format: 'json' })
  deepEqual(JSON.parse(tools.printed()), reply)
  deepEqual(control.request('user-reset'), { name: 'bob' })
})

test('users and tokens are listed and removed as the resources they are', async (t) => {
  const { tools, control } = await scene(t, {
    'resource-list': ({ kind }) => ({
      items: [
        kind === 'user'
          ? { kind, version: 'v2', metadata: { name: 'bob' }, spec: { roles: ['access'] } }
          : { kind, version: 'v2', metadata: { name: 'x'.repeat(32) }, spec: { roles: ['Db'] } },
      ],
    }),
    'resource-delete': () => ({}),
  })
  await runCommand(TCTL, tools, 'users ls')
  match(tools.printed(), /^User Roles +Locked\n---- ------ ------\nbob {2}access\n$/)
  await runCommand(TCTL, tools, 'tokens ls')
  ok(!tools.printed().includes('x'.repeat(32)), 'a table shows the whole secret')
  await runCommand(TCTL, tools, 'users rm', ['bob'])
  await runCommand(TCTL, tools, 'tokens rm', ['secret'])
  deepEqual(
    control.asked.filter(({ name }) => name === 'resource-delete').map(({ request }) => request),
    [
      { kind: 'user', name: 'bob' },
      { kind: 'token', name: 'secret' },
    ],
  )
})

test('a join token is shown with what to do with it', async (t) => {
  const { tools, control } = await scene(t, {
    'token-create': () => ({ token: 'tok', pins: [PIN], expiresAtMs: tools.clock.now() + HOUR_MS }),
  })
  await runCommand(TCTL, tools, 'tokens add', [], { type: ['db'], ttl: '1h', targets: ['a,b'] })
  deepEqual(control.request('token-create'), { roles: ['db'], ttlMs: HOUR_MS, targets: ['a', 'b'] })
  match(tools.printed(), new RegExp(`--token=tok --ca-pin=${PIN}`))
  await rejects(runCommand(TCTL, tools, 'tokens add'), { status: EXIT.usage })
})

test('resources are named by kind, kind and name, several, or all', async (t) => {
  const { tools, control } = await scene(t, {
    'resource-list': ({ kind }) => ({ items: kind === 'role' ? [ROLE] : [] }),
    'resource-get': () => ({ document: ROLE, warnings: [] }),
  })
  await runCommand(TCTL, tools, 'get', ['role/dba,users'])
  match(tools.printed(), /^kind: role\nversion: v7\nmetadata:\n {2}name: dba\n {2}revision: "7"\n/)
  await runCommand(TCTL, tools, 'get', ['all'], { format: 'text' })
  match(tools.printed(), /Role +Version/)
  await runCommand(TCTL, tools, 'get', ['cap'])
  deepEqual(control.asked.at(-1)?.request, {
    kind: 'cluster_auth_preference',
    name: 'cluster-auth-preference',
  })
  for (const wrong of ['wat', 'role/']) {
    await rejects(runCommand(TCTL, tools, 'get', [wrong]), { status: EXIT.usage })
  }
})

test('a document of a newer control is shown although it is not understood', async (t) => {
  const newer = { ...ROLE, spec: { ...ROLE.spec, novelty: 1 } }
  const { tools } = await scene(t, { 'resource-list': () => ({ items: [newer] }) })
  await runCommand(TCTL, tools, 'get', ['roles'])
  match(tools.printed(), /novelty: 1/)
})

test('create sends each document, force replaces, warnings are shown', async (t) => {
  const { tools, control } = await scene(t, {
    'resource-create': ({ document }) => ({ document, warnings: ['mind this'] }),
    'resource-put': ({ document }) => ({ document, warnings: [] }),
  })
  const file = path.join(tools.folder, 'role.yaml')
  writeFileSync(file, `${ROLE_YAML}---\n${ROLE_YAML.replace('dba', 'dbb')}`)
  await runCommand(TCTL, tools, 'create', [file])
  equal(tools.printed(), 'role "dba" is created.\nrole "dbb" is created.\n')
  match(tools.noted(), /WARNING: mind this/)
  await runCommand(TCTL, tools, 'create', [file], { force: true })
  deepEqual(
    control.asked.map(({ name }) => name),
    ['resource-create', 'resource-create', 'resource-put', 'resource-put'],
  )
  equal(control.request('resource-put')?.force, true)
})

test('a mistake in a file is told with its line, and nothing of the file is sent', async (t) => {
  const { tools, control } = await scene(t, {})
  const file = path.join(tools.folder, 'role.yaml')
  writeFileSync(file, `${ROLE_YAML}---\n${ROLE_YAML.replace('db_users', 'db_userz')}`)
  await rejects(runCommand(TCTL, tools, 'create', [file]), {
    code: 'resource.invalid',
    message: /^line \d+: spec\.allow\.db_userz/,
  })
  deepEqual(control.asked, [])
  await rejects(runCommand(TCTL, tools, 'create', [`${file}.none`]), /cannot read/)
  writeFileSync(file, '# nothing\n')
  await rejects(runCommand(TCTL, tools, 'create', [file]), { status: EXIT.usage })
})

test('rm needs a name and says what is gone', async (t) => {
  const { tools, control } = await scene(t, { 'resource-delete': () => ({}) })
  await runCommand(TCTL, tools, 'rm', ['roles/dba'])
  deepEqual(control.request('resource-delete'), { kind: 'role', name: 'dba' })
  await rejects(runCommand(TCTL, tools, 'rm', ['roles']), { status: EXIT.usage })
})

/** An editor that changes the file by a function. */
function editor(change: (text: string) => string, status = 0): NonNullable<FakeOptions['over']> {
  return {
    run(program, args) {
      equal(program, 'my-editor')
      const file = args.at(-1) ?? ''
      equal(statSync(file).mode & 0o777, 0o600)
      writeFileSync(file, change(readFileSync(file, 'utf8')))
      return Promise.resolve(status)
    },
  }
}

const EDIT: Answers = {
  'resource-get': () => ({ document: ROLE, warnings: [] }),
  'resource-put': ({ document }) => ({ document, warnings: ['mind this'] }),
}

test('edit sends what the editor left, with the revision that was read', async (t) => {
  const { tools, control } = await scene(t, EDIT, {
    env: { EDITOR: 'my-editor -w', TELEPORT_EDITOR: '' },
    over: editor((text) => text.replace('- app', '- app2')),
  })
  await runCommand(TCTL, tools, 'edit', ['role/dba'])
  const put = control.request('resource-put')
  equal(put?.force, undefined)
  deepEqual(put?.document['metadata'], { name: 'dba', revision: '7' })
  match(JSON.stringify(put?.document), /app2/)
  match(tools.noted(), /mind this/)
})

test('edit without a change sends nothing, nor does an editor that failed', async (t) => {
  for (const [change, status] of [
    [(text: string) => text, 0],
    [(text: string) => text.replace('app', 'b'), 1],
  ] as const) {
    const over = editor(change, status)
    const { tools, control } = await scene(t, EDIT, { env: { VISUAL: 'my-editor' }, over })
    const done = runCommand(TCTL, tools, 'edit', ['role/dba'])
    if (status === 0) await done
    else await rejects(done, { name: 'ProgramEnded' })
    equal(control.request('resource-put'), undefined)
  }
})

test('a text that is refused is kept for the next try', async (t) => {
  const over = editor((text) => text.replace('db_users', 'db_userz'))
  const { tools } = await scene(t, EDIT, { env: { EDITOR: 'my-editor' }, over })
  const failure: unknown = await runCommand(TCTL, tools, 'edit', ['role/dba']).catch(
    (error: unknown) => error,
  )
  const next = failure instanceof Error && 'next' in failure ? String(failure.next) : ''
  const file = /Your text is in (\S+)$/.exec(next)?.[1] ?? ''
  match(readFileSync(file, 'utf8'), /db_userz/)
  rmSync(path.dirname(file), { recursive: true })
})

test('a database’s certificate is written beside its key, and never over other files', async (t) => {
  const { tools, control } = await scene(t, {
    'auth-sign': () => ({
      certificate: 'CERT\n',
      cas: { db: ['DB\n'], db_client: ['CLIENT 1\n', 'CLIENT 2\n'] },
      pgIdent: ['sluice ident'],
      pgHba: ['hostssl hba'],
      expiresAtMs: Date.UTC(2027, 0, 1),
    }),
  })
  const out = path.join(tools.folder, 'server')
  const options = { format: 'db', host: ['a,10.0.0.1'], out, targets: ['orders'] }
  await runCommand(TCTL, tools, 'auth sign', [], options)
  const request = control.request('auth-sign')
  deepEqual(
    [request?.hosts, request?.targets, request?.ttlMs],
    [['a', '10.0.0.1'], ['orders'], 2190 * HOUR_MS],
  )
  equal(readFileSync(`${out}.crt`, 'utf8'), 'CERT\n')
  equal(readFileSync(`${out}.cas`, 'utf8'), 'CLIENT 1\nCLIENT 2\n')
  match(readFileSync(`${out}.key`, 'utf8'), /BEGIN PRIVATE KEY/)
  equal(statSync(`${out}.key`).mode & 0o777, 0o600)
  match(tools.printed(), /\n {2}hostssl hba\n[\s\S]*\n {2}sluice ident\n/)
  await rejects(runCommand(TCTL, tools, 'auth sign', [], options), /is there already/)
  await runCommand(TCTL, tools, 'auth sign', [], { ...options, overwrite: true })
  for (const missing of ['format', 'host', 'out'])
    await rejects(
      runCommand(TCTL, tools, 'auth sign', [], { ...options, [missing]: undefined }),
      { status: EXIT.usage },
      missing,
    )
})

test('nothing is written when control refuses to sign', async (t) => {
  const { tools } = await scene(t, {
    'auth-sign': () => Promise.reject(new ProxyError('signer.refused', 'no')),
  })
  const out = path.join(tools.folder, 'server')
  await rejects(runCommand(TCTL, tools, 'auth sign', [], { format: 'db', host: ['a'], out }))
  equal(existsSync(`${out}.key`), false)
})

test('a CA is exported as it is', async (t) => {
  const { publicKey } = generateKeyPairSync('ed25519')
  const pem = publicKey.export({ type: 'spki', format: 'pem' }).toString()
  const { tools } = await scene(t, { 'auth-export': () => ({ pem }) })
  await runCommand(TCTL, tools, 'auth export', [], { type: 'db-client' })
  equal(tools.printed(), pem)
  await rejects(runCommand(TCTL, tools, 'auth export'), { status: EXIT.usage })
})

test('events are read page by page up to the limit, filtered by control', async (t) => {
  const { tools, control } = await scene(t, {
    'audit-list': ({ cursor, limit = 0 }) => ({
      items: Array.from({ length: Math.min(limit, 2) }, (_, at) => ({
        event: 'user.login',
        code: 'T1000I',
        time: '2026-01-01T00:00:00.000Z',
        user: `u${cursor ?? '0'}${at}`,
        decision_id: 'X',
        error: 'a\u{1b}[2J',
      })),
      next: `${Number(cursor ?? 0) + 1}`,
    }),
  })
  await runCommand(TCTL, tools, 'audit ls', [], { limit: '3', last: '1h', types: ['a', 'b,c'] })
  const asked = control.asked.map(({ request }) => request as { limit: number; types: string })
  deepEqual(
    asked.map(({ limit, types }) => [limit, types]),
    [
      [3, 'a,b,c'],
      [1, 'a,b,c'],
    ],
  )
  equal(control.request('audit-list')?.fromMs, tools.clock.now() - HOUR_MS)
  const lines = tools.printed().trimEnd().split('\n')
  equal(lines.length, 5)
  equal(lines[2], '2026-01-01 00:00:00 T1000I user.login u00  error=a\u{fffd}[2J decision_id=X')
})

test('a damaged log is a failure that names the place', async (t) => {
  const replies = [
    { ok: true, records: 5 },
    { ok: false, records: 2, problem: 'record 3 was changed' },
  ]
  const { tools, control } = await scene(t, {
    'audit-verify': () => replies.shift() ?? { ok: false, records: 0 },
  })
  await runCommand(TCTL, tools, 'audit verify', [], { anchors: true })
  match(tools.printed(), /whole and agrees with the checkpoints.*: 5 records/)
  deepEqual(control.request('audit-verify'), { anchors: true })
  await rejects(runCommand(TCTL, tools, 'audit verify'), {
    status: EXIT.failure,
    message: /after 2 good records: record 3 was changed/,
  })
})

test('an export is one line of JSON per record', async (t) => {
  const { tools } = await scene(t, { 'audit-export': () => ({ seq: 1 }) })
  await runCommand(TCTL, tools, 'audit export')
  equal(tools.printed(), '{"seq":1}\n')
})

test('a decision is explained; its redacted form says what to do instead', async (t) => {
  const decision = {
    id: ID,
    timeMs: 0,
    allowed: false,
    user: 'bob',
    target: 'db/orders',
    reason: 'no role',
    next: 'Ask an administrator.',
  }
  const replies = [{ ...decision, text: 'role access: no\u{1b}\n  - add it' }, decision]
  const { tools, control } = await scene(t, { decision: () => replies.shift() ?? decision })
  await runCommand(TCTL, tools, 'explain', [ID.toLowerCase()])
  deepEqual(control.request('decision'), { id: ID })
  match(
    tools.printed(),
    /bob to db\/orders: denied\nno role\n\nrole access: no\u{fffd}\n {2}- add it\n$/u,
  )
  await runCommand(TCTL, tools, 'explain', [ID])
  match(tools.printed(), /no role\nAsk an administrator\.\n$/)
  await rejects(runCommand(TCTL, tools, 'explain', ['1']), { status: EXIT.usage })
})

test('a lock names its targets, ends when told, and waits until everybody has it', async (t) => {
  let asked = 0
  const { tools, control } = await scene(t, {
    'resource-create': ({ document }) => ({ document, warnings: [] }),
    'lock-receivers': () => ({
      revision: 1,
      lacking: asked++ < 3 ? [{ id: 'agent-1', role: 'agent' }] : [],
    }),
  })
  const now = tools.clock.now()
  await runCommand(TCTL, tools, 'lock', [], {
    user: 'mallory',
    serverId: 'agent-1',
    cert: 'ab',
    message: 'out',
    ttl: '1h',
    wait: true,
  })
  const created = control.request('resource-create')
  deepEqual(created?.document['spec'], {
    target: { user: 'mallory', server_id: 'agent-1', certificate_serial: 'ab' },
    message: 'out',
    expires: new Date(now + HOUR_MS).toISOString(),
  })
  equal(asked, 4)
  match(tools.printed(), /Remove it: tctl rm lock\/[\da-f-]{36}\nEvery agent and proxy has it\.\n$/)
})

test('who lacks a lock when the time is up is named', async (t) => {
  const { tools } = await scene(t, {
    'resource-create': ({ document }) => ({ document, warnings: [] }),
    'lock-receivers': () => ({ revision: 1, lacking: [{ id: 'agent-1', role: 'agent' }] }),
  })
  await rejects(
    runCommand(TCTL, tools, 'lock', [], { db: 'orders', wait: true, timeout: '2' }),
    /after 2 s 1 still lack it: agent agent-1/,
  )
})

test('a lock without a target, or with two ends, is a wrong command line', async (t) => {
  const { tools, control } = await scene(t, {})
  for (const options of [{}, { user: 'a', ttl: '1h', expires: '2030-01-01' }])
    await rejects(runCommand(TCTL, tools, 'lock', [], options), { status: EXIT.usage })
  deepEqual(control.asked, [])
})

test('the status shows pins, CAs, who is away and who is stale', async (t) => {
  const member = (id: string, online: boolean): Status['agents'][number] => ({
    id,
    hostname: `${id}.host`,
    services: ['db'],
    address: '',
    lastSeenMs: tools.clock.now() - 90_000,
    online,
    recordingsAtRisk: online ? 0 : 3,
  })
  const { tools } = await scene(t, {
    status: () => ({
      cluster: 'c.test',
      version: '1',
      pins: ['sha256:1', 'sha256:2'],
      authorities: [
        {
          type: 'snapshot',
          protocol: 'signature',
          algorithm: 'Ed25519',
          storage: 'file',
          rotation: 'standby',
          expiresAtMs: 0,
        },
      ],
      agents: [member('a1', true), member('a2', false), { ...member('a3', false), lastSeenMs: 0 }],
      proxies: [],
      stale: ['a2'],
      insecureKeys: true,
      audit: { count: 3, head: 'abc' },
    }),
  })
  await runCommand(TCTL, tools, 'status')
  const text = tools.printed()
  match(text, /CA pins: {2}sha256:1\n {10}sha256:2\n/)
  match(text, /lie in clear on disk/)
  match(text, /snapshot +standby +signature +Ed25519 +file +-\n/)
  match(text, /No proxies have joined/)
  match(text, /a1\.host +a1 +db +online +current/)
  match(text, /a2\.host +a2 +db +last seen 90s ago +stale/)
  match(text, /a3\.host +a3 +db +not seen yet/)
  match(text, /Recordings at risk: 6, on a2\.host \(3\), a3\.host \(3\) and not here yet/)
})

test('databases are listed with their owner, and claims that were turned away', async (t) => {
  const target = {
    kind: 'db' as const,
    name: 'orders',
    label: 'orders',
    protocol: 'postgres',
    labels: {},
    owner: 'token abc',
    agents: ['a1', 'a2'],
    online: true,
    status: 'unhealthy' as const,
    reason: 'connect ECONNREFUSED 127.0.0.1:5432',
    servers: [
      {
        agent: 'a1',
        online: true,
        status: 'unhealthy' as const,
        reason: 'connect ECONNREFUSED 127.0.0.1:5432',
        sinceMs: 0,
      },
    ],
    refused: [{ agent: 'evil', atMs: 0, reason: 'the name is another’s' }],
  }
  const { tools } = await scene(t, {
    targets: () => ({ items: [target, { ...target, kind: 'node', name: 'host' }] }),
  })
  await runCommand(TCTL, tools, 'db ls')
  match(
    tools.printed(),
    /orders postgres +token abc 2 +unhealthy connect ECONNREFUSED 127\.0\.0\.1:5432\n/,
  )
  ok(!tools.printed().includes('a1'))
  match(tools.printed(), /Turned away: orders by agent evil at 1970/)
  ok(!tools.printed().includes('host'))
  const found = async (query: string): Promise<boolean> => {
    const from = tools.printed().length
    await runCommand(TCTL, tools, 'db ls', [], { query })
    return tools.printed().slice(from).includes('orders')
  }
  equal(await found('resource.kind == "db" && resource.spec.protocol == "postgres"'), true)
  equal(await found('name == "host"'), false)
  await rejects(found('label.a == "b"'), { status: EXIT.usage, message: /column 1: "label\.a"/ })
})

test('each agent’s word on a database is there for who asks', async (t) => {
  const server = { agent: 'a1', online: true, status: 'healthy' as const, reason: '', sinceMs: 1 }
  const { tools } = await scene(t, {
    targets: () => ({
      items: [
        {
          kind: 'db' as const,
          name: 'orders',
          label: 'orders',
          protocol: 'postgres',
          labels: {},
          owner: 'resource',
          agents: ['a1', 'a2'],
          online: true,
          status: 'healthy' as const,
          reason: '',
          servers: [
            server,
            { ...server, agent: 'a2', online: false, recordingsAtRisk: 0 },
            { ...server, agent: 'a3', status: 'unhealthy' as const, reason: 'refused' },
          ],
          refused: [],
        },
      ],
    }),
  })
  await runCommand(TCTL, tools, 'db ls', [], { verbose: true })
  match(tools.printed(), /orders +a1 +healthy +1970-01-01 00:00:00 UTC\n/)
  match(tools.printed(), /orders +a2 +offline/)
  match(tools.printed(), /orders +a3 +unhealthy +1970-01-01 00:00:00 UTC refused\n/)
})
