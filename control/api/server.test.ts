// The API server against strangers: certificates of every wrong kind, hostile bodies, floods, a connection that outlives its right.
// Requests are written by hand over TLS, so that nothing is tested against our own client.

import assert from 'node:assert/strict'
import { statSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'

import { FakeClock } from '../../core/clock.ts'
import { max } from '../../core/limits.ts'
import { boastful, forgeries } from '../../test/fixtures/forgeries.ts'
import {
  dial,
  newMember,
  newPerson,
  startTestControl,
  type TestControl,
} from '../../test/fixtures/control.ts'
import type { ClientIdentity } from './connection.ts'

interface Answer {
  readonly status: number
  readonly body: { readonly error?: { readonly code: string; readonly message: string } }
}

const clock = new FakeClock()
let control: TestControl

before(async () => {
  control = await startTestControl({ clock })
})
after(() => control.remove())

async function open(
  identity?: ClientIdentity,
  options: tls.ConnectionOptions = {},
): Promise<tls.TLSSocket> {
  const socket = tls.connect({
    socket: await dial(control.handle.port),
    ALPNProtocols: ['sluice-control'],
    rejectUnauthorized: false,
    ...(identity === undefined ? {} : { cert: identity.certificate, key: identity.key }),
    ...options,
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('secureConnect', resolve)
    socket.once('error', reject)
  })
  socket.on('error', () => {})
  return socket
}

/** Writes one request and reads one answer. */
async function ask(
  socket: tls.TLSSocket,
  line: string,
  body = '',
  headers: readonly string[] = [],
): Promise<Answer> {
  const length = body === '' ? [] : [`content-length: ${Buffer.byteLength(body)}`]
  const json = headers.some((header) => header.startsWith('content-type'))
    ? []
    : ['content-type: application/json']
  socket.write(
    [`${line} HTTP/1.1`, 'host: control', ...json, ...length, ...headers, '', body].join('\r\n'),
  )
  let text = ''
  for await (const chunk of socket.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    text += chunk.toString()
    const end = text.indexOf('\r\n\r\n')
    const size = Number(/content-length: (\d+)/i.exec(text)?.[1] ?? Number.NaN)
    if (end >= 0 && Buffer.byteLength(text.slice(end + 4)) >= size) break
  }
  const status = Number(/^HTTP\/1.1 (\d+)/.exec(text)?.[1] ?? 0)
  return {
    status,
    body: JSON.parse(text.slice(text.indexOf('\r\n\r\n') + 4) || '{}') as Answer['body'],
  }
}

async function once(
  line: string,
  body = '',
  headers: readonly string[] = [],
  identity?: ClientIdentity,
): Promise<string> {
  const socket = await open(identity)
  const answer = await ask(socket, line, body, headers)
  socket.destroy()
  return `${answer.status} ${answer.body.error?.code ?? 'done'}`
}

describe('the API server', () => {
  it('speaks TLS 1.3 with its own ALPN and nothing else', async () => {
    await assert.rejects(open(undefined, { maxVersion: 'TLSv1.2' }))
    await assert.rejects(open(undefined, { ALPNProtocols: ['http/1.1'] }))
    const socket = await open()
    assert.equal(socket.getProtocol(), 'TLSv1.3')
    socket.destroy()
  })

  it('sends its CA after its certificate, so that a pin can be checked', async () => {
    const socket = await open()
    const leaf = socket.getPeerX509Certificate()
    const ca = leaf?.issuerCertificate
    const { cas } = await control.signer.authorities()
    assert.deepEqual(ca?.raw, Buffer.from(cas.host[0] ?? []))
    socket.destroy()
  })

  it('answers hostile requests with a refusal and goes on serving', async () => {
    const login = { user: 'x', password: 'y', otp: '1', publicKey: 'AAAA' }
    const cases: readonly (readonly [string, string, readonly string[], string])[] = [
      ['POST /v1/login', '{', [], '400 resource.invalid'],
      ['POST /v1/login', '[]', [], '400 resource.invalid'],
      ['POST /v1/login', 'null', [], '400 resource.invalid'],
      ['POST /v1/login', '{"user":"a","user":"b"}', [], '400 resource.invalid'],
      ['POST /v1/login', '{"__proto__":{"admin":true}}', [], '400 resource.invalid'],
      ['POST /v1/login', '['.repeat(5000), [], '400 resource.invalid'],
      ['POST /v1/login', JSON.stringify({ ...login, admin: true }), [], '400 resource.invalid'],
      ['POST /v1/login', JSON.stringify({ ...login, user: { a: 1 } }), [], '400 resource.invalid'],
      [
        'POST /v1/login',
        JSON.stringify(login),
        ['content-type: text/plain'],
        '400 resource.invalid',
      ],
      [
        'POST /v1/login',
        JSON.stringify(login),
        ['content-type: application/x-www-form-urlencoded'],
        '400 resource.invalid',
      ],
      ['GET /v1/ping?a=1', '', [], '400 resource.invalid'],
      ['GET /v1/ping', '{"a":1}', [], '400 resource.invalid'],
      ['DELETE /v1/ping', '', [], '404 resource.not-found'],
      ['GET /v1/../v1/nothing', '', [], '404 resource.not-found'],
      ['GET /v1/invites/%ff', '', [], '400 resource.invalid'],
      ['GET /v1/invites/..%2f..%2fcluster', '', [], '400 resource.invalid'],
      ['GET /v1/ping', '', [], '200 done'],
    ]
    for (const [line, body, headers, expected] of cases)
      assert.equal(await once(line, body, headers), expected, `${line} ${body.slice(0, 60)}`)
  })

  it('refuses a body by its announced length, before it comes', async () => {
    const socket = await open()
    const answer = await ask(socket, 'POST /v1/login', '', [
      `content-length: ${max('apiBodyBytesMax') + 1}`,
    ])
    assert.equal(answer.status, 429)
    socket.destroy()
  })

  it('gives nothing but anonymous calls to strangers, and says what is missing', async () => {
    const lines = [
      'GET /v1/me',
      'GET /v1/status',
      'GET /v1/ticket-keys',
      'GET /v1/watch?class=proxy',
      'GET /v1/audit/export',
      'GET /v1/openapi.json',
    ]
    for (const line of lines) assert.equal(await once(line), '403 policy.denied', line)
  })

  it('gives nothing to a certificate of a wrong kind, and still lets its holder log in', async () => {
    for (const [what, identity] of await forgeries(control.signer, clock.now())) {
      for (const line of ['GET /v1/me', 'GET /v1/ticket-keys', 'GET /v1/status'])
        assert.match(await once(line, '', [], identity), /^40[013] /, `${what}: ${line}`)
      assert.equal(await once('GET /v1/ping', '', [], identity), '200 done', what)
    }
  })

  it('reads a system role from nowhere but its extension', async () => {
    const identity = await boastful(control.signer)
    for (const line of ['GET /v1/ticket-keys', 'GET /v1/watch?class=proxy', 'GET /v1/status'])
      assert.equal(await once(line, '', [], identity), '403 policy.denied', line)
  })

  it('keeps machines from people’s calls and people from machines’', async () => {
    const agent = await newMember(control, 'agent')
    const proxy = await newMember(control, 'proxy')
    const user = await newPerson(control, 'plain', [], {}, clock)
    for (const line of [
      'GET /v1/me',
      'GET /v1/status',
      'GET /v1/resources/user',
      'GET /v1/ticket-keys',
      'GET /v1/watch?class=proxy',
    ])
      assert.equal(await once(line, '', [], agent), '403 policy.denied', line)
    for (const line of ['GET /v1/me', 'PUT /v1/inventory', 'POST /v1/certificates/db-client'])
      assert.equal(
        await once(line, line.startsWith('GET') ? '' : '{}', [], proxy),
        '403 policy.denied',
        line,
      )
    for (const line of [
      'GET /v1/ticket-keys',
      'GET /v1/status',
      'GET /v1/resources/user',
      'GET /v1/audit',
      'GET /v1/auth/export?type=user',
    ])
      assert.equal(await once(line, '', [], user), '403 policy.denied', line)
  })

  it('judges a connection again for each request: a lock and an expiry end its right', async () => {
    const user = await newPerson(control, 'judged', [], {}, clock)
    const socket = await open(user)
    assert.equal((await ask(socket, 'GET /v1/me')).status, 200)
    await control.admin.call('resource-create', {
      kind: 'lock',
      document: {
        kind: 'lock',
        version: 'v2',
        metadata: { name: 'l1' },
        spec: { target: { user: 'judged' }, message: 'gone home' },
      },
    })
    const locked = await ask(socket, 'GET /v1/me')
    assert.equal(locked.body.error?.code, 'login.locked')
    assert.match(locked.body.error?.message ?? '', /User:"judged".*gone home/)
    await control.admin.call('resource-delete', { kind: 'lock', name: 'l1' })
    assert.equal((await ask(socket, 'GET /v1/me')).status, 200)
    clock.jump(13 * 3_600_000)
    assert.equal((await ask(socket, 'GET /v1/me')).body.error?.code, 'cert.expired')
    clock.jump(-13 * 3_600_000)
    socket.destroy()
  })

  it('does not let a ticket won before outlive the certificate’s right', async () => {
    const user = await newPerson(control, 'resumer', [], {}, clock)
    const first = await open(user)
    const ticket = new Promise<Buffer>((resolve) => first.once('session', resolve))
    await ask(first, 'GET /v1/me')
    const session = await ticket
    first.destroy()
    clock.jump(13 * 3_600_000)
    const second = await open(user, { session })
    assert.equal(second.isSessionReused(), true)
    assert.equal((await ask(second, 'GET /v1/me')).body.error?.code, 'cert.expired')
    second.destroy()
    clock.jump(-13 * 3_600_000)
  })

  it('bounds anonymous calls of one connection', async () => {
    const socket = await open()
    const codes = new Set<number>()
    for (let i = 0; i <= max('apiAnonymousPerMinuteMax') / 4; i++)
      codes.add((await ask(socket, 'GET /v1/ping')).status)
    assert.deepEqual([...codes], [200, 429])
    clock.advance(60_000)
    assert.equal((await ask(socket, 'GET /v1/ping')).status, 200)
    socket.destroy()
  })

  it('keeps its unix socket to its own user, and audits what is done there', async () => {
    const socket = path.join(control.folder, 'admin.sock')
    assert.equal(statSync(socket).mode & 0o777, 0o600)
    await control.admin.call('token-create', { roles: ['db'] })
    const { items } = await control.admin.call('audit-list', { types: 'admin.call' })
    assert.equal(items[0]?.['path'], '/v1/tokens')
  })
})
