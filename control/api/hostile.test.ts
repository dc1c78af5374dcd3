// The API against requests that are wrong below JSON: bodies without an end, lengths that lie, targets that are no path, methods
// and routes nobody has. Each is answered with a refusal that tells nothing, or the connection ends; memory stays; others are served.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import tls from 'node:tls'

import { dial, newCsr, startTestControl, type TestControl } from '../../test/fixtures/control.ts'
import { errorCode } from '../../core/errors.ts'

const MB = 1024 * 1024
const GROWTH_MAX = 100 * MB

let control: TestControl

before(async () => {
  control = await startTestControl()
})
after(() => control.remove())

/** Writes the parts and reads until the connection is over. */
async function say(...parts: readonly (string | Uint8Array)[]): Promise<string> {
  const socket = tls.connect({
    socket: await dial(control.handle.port),
    ALPNProtocols: ['sluice-control'],
    rejectUnauthorized: false,
  })
  const heard: Buffer[] = []
  const over = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.on('error', () => {})
  socket.on('data', (chunk: Buffer) => heard.push(chunk))
  for (const part of parts) if (!socket.destroyed) socket.write(part)
  await over
  return Buffer.concat(heard).toString()
}

function head(line: string, ...headers: readonly string[]): string {
  const json = 'content-type: application/json'
  return [`${line} HTTP/1.1`, 'host: control', json, 'connection: close', ...headers, '', ''].join(
    '\r\n',
  )
}

/** What is not HTTP is not answered, or with 400. */
const NO_HTTP = /^(400|closed)/

/** Status and error code, or what else came. */
function refusal(answer: string): string {
  const status = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1] ?? 'closed'
  return `${status} ${/"code":"([a-z.-]+)"/.exec(answer)?.[1] ?? ''}`.trim()
}

function chunked(bytes: number): string[] {
  const piece = `10000\r\n${' '.repeat(65_536)}\r\n`
  return [...new Array<string>(Math.ceil(bytes / 65_536)).fill(piece), '0\r\n\r\n']
}

describe('the API, below JSON', () => {
  it('reads no body past its bound, whatever its length was said to be', async () => {
    const before = process.memoryUsage().rss
    const login = (...headers: readonly string[]): string => head('POST /v1/login', ...headers)
    const bodies: Readonly<Record<string, readonly [readonly string[], RegExp]>> = {
      'of 2 GB': [[login('content-length: 2147483648')], /^429 limit\.exceeded/],
      'of more than a number holds': [
        [login(`content-length: ${'9'.repeat(40)}`)],
        /^(429|400|closed)/,
      ],
      'of less than nothing': [[login('content-length: -1')], NO_HTTP],
      'of two lengths': [[login('content-length: 2', 'content-length: 3'), '{}'], NO_HTTP],
      'of a length and chunks': [
        [login('content-length: 2', 'transfer-encoding: chunked'), '2\r\n{}\r\n0\r\n\r\n'],
        NO_HTTP,
      ],
      'of an unknown coding': [
        [login('transfer-encoding: gzip, chunked'), '{}'],
        /^4|^closed|^501/,
      ],
      'of endless chunks': [
        [login('transfer-encoding: chunked'), ...chunked(8 * MB)],
        /^429 limit\.exceeded|^closed/,
      ],
      'of a chunk of 4 GB': [
        [login('transfer-encoding: chunked'), `ffffffff\r\n${' '.repeat(2 * MB)}`],
        /^429 limit\.exceeded|^closed/,
      ],
      'of no JSON at its bound': [
        [login(`content-length: ${MB}`), '['.repeat(MB)],
        /^400 resource\.invalid/,
      ],
      'of one string at its bound': [
        [login(`content-length: ${MB}`), `"${'\\"'.repeat(MB / 2 - 1)}"`],
        /^400 resource\.invalid/,
      ],
    }
    for (const [what, [parts, expected]] of Object.entries(bodies))
      assert.match(refusal(await say(...parts)), expected, what)
    const grown = process.memoryUsage().rss - before
    assert.ok(grown < GROWTH_MAX, `${(grown / MB).toFixed(1)} MB`)
    assert.equal(refusal(await say(head('GET /v1/ping'))), '200')
  })

  it('answers every route and method nobody has in one way', async () => {
    const lines = [
      'GET /',
      'GET /v1',
      'GET /v2/ping',
      'GET /v1/ping/',
      'GET //v1/ping',
      'GET /V1/PING',
      'GET /v1/admin',
      'GET /v1/resources/user/..',
      'PUT /v1/login',
      'DELETE /v1/login',
      'PATCH /v1/me',
      'OPTIONS /v1/login',
      'TRACE /v1/ping',
      'GET http://elsewhere.example/',
      'OPTIONS *',
    ]
    const answers = new Set<string>()
    for (const line of lines) {
      const answer = await say(head(line))
      assert.equal(refusal(answer), '404 resource.not-found', line)
      // It may repeat what was asked, and differ in nothing else.
      const same = answer.replace(/^(date|content-length): .*\r\n/gim, '')
      answers.add(same.replace(/The API has no [^"]+/, ''))
    }
    assert.equal(answers.size, 1, [...answers].join('\n'))
  })

  it('says no to targets that are no path, and does not fall over them', async () => {
    for (const target of ['//[', 'http://[::1', 'http://a:99999/', '/%', '/v1/%00'])
      assert.match(refusal(await say(head(`GET ${target}`))), /^(400|404)/, target)
    for (const line of ['CONNECT elsewhere.example:443', 'BREW /v1/ping', 'PRI *'])
      assert.match(refusal(await say(head(line))), /^(4\d\d|closed)/, line)
    assert.match(
      refusal(await say(head('GET /v1/ping', `x: ${'y'.repeat(100_000)}`))),
      /^(4\d\d|closed)/,
    )
    assert.match(refusal(await say(head('GET /v1/ping', 'upgrade: websocket'))), /^(200|4\d\d)/)
    assert.equal(refusal(await say(head('GET /v1/ping'))), '200')
  })

  it('lets a one-use token in once, however many present it at the same moment', async () => {
    const { token } = await control.handle.localToken('agent', ['db'])
    const join = async (): Promise<string> => {
      const request = { token, csr: newCsr().csr, hostname: 'a.test', role: 'agent' as const }
      try {
        await control.client().call('join', { ...request, services: ['db'] })
        return 'joined'
      } catch (error) {
        return errorCode(error) ?? String(error)
      }
    }
    const outcomes = await Promise.all(Array.from({ length: 12 }, join))
    assert.equal(outcomes.filter((outcome) => outcome === 'joined').length, 1)
    assert.equal(outcomes.filter((outcome) => outcome === 'policy.denied').length, 11)
    assert.equal(await join(), 'policy.denied')
  })
})
