// The agent half against real servers: every way PostgreSQL 15 and 18 ask who somebody is, with the password an administrator
// stored. No text that anybody may read afterwards has the password in it.

import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import net from 'node:net'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'

import type { PasswordMethod } from '../../core/protocol.ts'
import { postgres } from '../../protocols/postgres/index.ts'
import { logInToTarget } from '../../workers/target-login.ts'
import { openFolder, suiteCleanup } from '../fixtures/files.ts'
import { type PostgresVersion, startTestPostgres, type TestPostgres } from '../fixtures/postgres.ts'
import { testRight } from '../fixtures/rights.ts'
import { startup } from '../fake/postgres-bytes.ts'
import { loginOf } from '../scripts/postgres.ts'

// Beyond ASCII, so that it is prepared as the server prepares it: a soft hyphen, a wide letter, a no-break space.
const PASSWORD = 'Paßw\u00adört\u00a0Ａ 9f31'

const KEYS: Readonly<Record<PostgresVersion, readonly string[]>> = {
  15: ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256'],
  18: ['-newkey', 'rsa:2048', '-sha512'],
}

const HBA = [
  'hostssl all trusted 127.0.0.1/32 trust',
  'hostssl all bound 127.0.0.1/32 scram-sha-256',
  'hostssl all twice 127.0.0.1/32 scram-sha-256 clientcert=verify-full',
  'hostssl all old 127.0.0.1/32 md5',
  'hostssl all clear 127.0.0.1/32 password',
  'hostnossl all bound 127.0.0.1/32 scram-sha-256',
]

/** Whether the password is anywhere in it, also as the server prepares it. */
const PREPARED = 'Paßwört A 9f31'

for (const version of [15, 18] as const)
  describe(`logging in to PostgreSQL ${version}`, () => {
    const cleanup = suiteCleanup()
    const said: string[] = []
    let server: TestPostgres
    let folder: string

    before(async () => {
      folder = await openFolder(cleanup)
      certify('server', KEYS[version], '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost')
      certify('twice', KEYS[15], '/CN=twice')
      server = await startTestPostgres(cleanup, {
        version,
        tls: { cert: read('server.crt'), key: read('server.key'), ca: read('twice.crt') },
        hba: HBA,
        settings: ['log_connections = on', 'password_encryption = scram-sha-256'],
      })
      const quoted = `U&'${escaped(PASSWORD)}'`
      await server.sql(
        [
          'CREATE ROLE trusted LOGIN',
          ...['bound', 'twice', 'clear'].map(
            (name) => `CREATE ROLE ${name} LOGIN PASSWORD ${quoted}`,
          ),
          "SET password_encryption = 'md5'",
          `CREATE ROLE old LOGIN PASSWORD ${quoted}`,
        ].join(';'),
      )
    })

    after(() => {
      const all = [...said, server.log()].join('\n')
      assert.match(all, /none is stored/)
      assert.match(all, /connection authenticated|connection authorized/)
      for (const text of [PASSWORD, PREPARED, '9f31']) assert.ok(!all.includes(text))
    })

    function certify(
      name: string,
      key: readonly string[],
      subject: string,
      ...more: string[]
    ): void {
      const files = ['-keyout', join(folder, `${name}.key`), '-out', join(folder, `${name}.crt`)]
      const args = ['req', '-x509', '-nodes', '-subj', subject, ...key, ...files, ...more]
      execFileSync('openssl', args, { stdio: 'pipe' })
    }

    function read(name: string): string {
      return readFileSync(join(folder, name), 'utf8')
    }

    /** Logs in as this user; returns the type bytes of what the session is offered first, or throws why not. */
    async function logIn(
      user: string,
      methods: readonly PasswordMethod[] | undefined,
      over: { tls?: 'verify-full' | 'off'; password?: string; certificate?: boolean } = {},
    ): Promise<string> {
      const { tls = 'verify-full', password = PASSWORD, certificate = false } = over
      const stored = methods === undefined ? undefined : { password, methods }
      const socket = net.connect({ port: server.port, host: '127.0.0.1', allowHalfOpen: true })
      const pair = { certificate: read('twice.crt'), key: read('twice.key') }
      const options = {
        serverName: 'localhost',
        verify: 'full',
        cas: [read('server.crt')],
        ...(certificate ? pair : {}),
      } as const
      const note = (text: string): void => void said.push(text)
      const log = { debug: note, info: note, warn: note, error: note, child: () => log }
      const reached = await logInToTarget(
        postgres,
        {
          socket,
          login: {
            ...loginOf(startup(`user\0${user}\0database\0postgres\0`), tls, stored),
            right: testRight({ nowMs: Date.now() }),
          },
          ...(tls === 'off' ? {} : { tls: options }),
        },
        { log, nowMs: 0, audit: (code, fields) => note(JSON.stringify({ code, fields })) },
        AbortSignal.timeout(10_000),
      ).catch((error: unknown) => {
        note(String(error))
        throw error
      })
      reached.socket.destroy()
      const text = Buffer.from(reached.first).toString('utf8')
      note(text)
      return text.charAt(0) === 'E' ? text : text.charAt(0)
    }

    it('trusted, and asked for nothing', async () => {
      assert.equal(await logIn('trusted', undefined), 'R')
    })

    it('by SCRAM bound to the server’s certificate', async () => {
      assert.equal(await logIn('bound', ['scram']), 'R')
    })

    it('by SCRAM without TLS', async () => {
      assert.equal(await logIn('bound', ['scram'], { tls: 'off' }), 'R')
    })

    it('by SCRAM and a client certificate together', async () => {
      assert.equal(await logIn('twice', ['scram'], { certificate: true }), 'R')
      assert.match(await logIn('twice', ['scram']), /valid client certificate/)
    })

    it('by md5 and in clear, where that was allowed', async () => {
      assert.equal(await logIn('old', ['md5']), 'R')
      assert.equal(await logIn('clear', ['cleartext']), 'R')
      await assert.rejects(logIn('old', ['scram', 'cleartext']), /md5.*--allow-md5/)
      await assert.rejects(logIn('clear', ['scram', 'md5']), /clear.*--allow-cleartext/)
    })

    it('not without a password, and with a wrong one in the server’s words', async () => {
      await assert.rejects(logIn('bound', undefined), /SCRAM.*none is stored/)
      const wrong = `${PASSWORD}x`
      assert.match(
        await logIn('bound', ['scram'], { password: wrong }),
        /password authentication failed/,
      )
    })
  })

/** For U&'…': every character by its code point. */
function escaped(text: string): string {
  return Array.from(
    text,
    (char) => `\\+${(char.codePointAt(0) ?? 0).toString(16).padStart(6, '0')}`,
  ).join('')
}
