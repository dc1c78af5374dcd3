// The fixtures every other test leans on, and the doors of the checkout: scripts/*.mjs, package.json, the lock.
// A fixture that lies makes every test that uses it lie.

import { deepEqual, equal, match, ok, rejects } from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { copyEmbedded } from '../cli/embedded-postgres.ts'
import { startPostgres, debianPostgres } from '../cli/postgres-server.ts'
import { atEnd, openFolder, privateFile, temporaryFolder } from './fixtures/files.ts'
import { dial, freePort, listen, portOf, readAll, readBytes } from './fixtures/net.ts'
import { startTestPostgres, type PostgresVersion } from './fixtures/postgres.ts'
import { alive, run, start, startNode } from './fixtures/processes.ts'
import { pgbench, psql } from './fixtures/psql.ts'

const ROOT = join(import.meta.dirname, '..')

test('what a test leaves is undone in reverse order', async (t) => {
  const order: number[] = []
  await t.test('inner', (inner) => {
    for (const number of [1, 2, 3]) atEnd(inner, () => void order.push(number))
  })
  deepEqual(order, [3, 2, 1])
})

test('a temporary folder is private, one for servers is open, and both are gone after the test', async (t) => {
  const folders: string[] = []
  await t.test('inner', async (inner) => {
    const mine = await temporaryFolder(inner)
    const theirs = await openFolder(inner)
    folders.push(mine, theirs)
    equal((await stat(mine)).mode & 0o777, 0o700)
    equal((await stat(theirs)).mode & 0o777, 0o755)
    equal((await stat(await privateFile(mine, 'key', 'secret'))).mode & 0o777, 0o600)
  })
  equal(folders.length, 2)
  deepEqual(folders.filter(existsSync), [])
})

test('a program is watched line by line and ended by its pid', async (t) => {
  const program = start(t, '/bin/sh', ['-c', 'echo one; echo two >&2; cat; echo done'])
  equal(await program.line(/^one/), 'one')
  equal(await program.line(/^two/), 'two')
  ok(alive(program.pid))
  program.write('three\n')
  equal(await program.line(/^three/), 'three')
  const ended = await program.kill('SIGTERM')
  equal(ended.signal, 'SIGTERM')
  equal(alive(program.pid), false)
  await rejects(program.line(/^never/), /it ended .*without a line/s)
})

test('a line that never comes is a failure that shows what the program said', async (t) => {
  const program = start(t, '/bin/sh', ['-c', 'echo hello; cat'])
  await program.line(/hello/)
  await rejects(program.line(/never/, 1), /without a line like \/never\/; it said:\nhello/)
})

test('a program that goes on after its test is killed', async (t) => {
  let pid = 0
  await t.test('inner', async (inner) => {
    const program = start(inner, '/bin/sh', ['-c', 'echo up; cat'])
    await program.line(/up/)
    pid = program.pid
  })
  equal(alive(pid), false)
})

test('a program that ran to its end gives status and both outputs', async () => {
  const output = await run('/bin/sh', ['-c', 'cat; echo bad >&2; exit 3'], { input: 'in' })
  deepEqual(output, { code: 3, signal: null, stdout: 'in', stderr: 'bad\n' })
  equal((await run('/nonexistent/program', [])).code, 127)
  equal((await run('/bin/sh', ['-c', 'sleep 3; :'], { timeoutMs: 1 })).signal, 'SIGKILL')
})

test('a program ends with the process of its test, however that ends', async (t) => {
  const fixture = join(ROOT, 'test/fixtures/processes.ts')
  const script = join(await temporaryFolder(t), 'runner.ts')
  await writeFile(
    script,
    `import { start } from '${fixture}'
     const program = start({ after() {} }, '/bin/sh', ['-c', 'echo up; exec tail -f /dev/null'])
     await program.line(/up/)
     console.log('pid', program.pid)`,
  )
  const runner = startNode(t, script)
  const pid = Number(/\d+/.exec(await runner.line(/^pid/))?.[0])
  ok(alive(pid))
  await runner.kill('SIGKILL')
  await goneSoon(pid)
})

test('our own files run with code from strings forbidden', async (t) => {
  const folder = await temporaryFolder(t)
  await writeFile(
    join(folder, 'a.mjs'),
    'try { new Function("1") } catch (e) { console.log(e.name) }',
  )
  const output = await startNode(t, join(folder, 'a.mjs')).exit
  equal(output.stdout, 'EvalError\n')
})

test('bytes are read to the end, or as many as asked with the rest kept', async (t) => {
  const { port } = await listen(t, (socket) => void socket.end('one two three'))
  equal((await readAll(await dial(t, port))).toString(), 'one two three')
  const socket = await dial(t, port)
  equal((await readBytes(socket, 3)).toString(), 'one')
  equal((await readBytes(socket, 4)).toString(), ' two')
  await rejects(readBytes(socket, 100), /ended after 6 of 100/)
})

test('a half-closed client still reads', async (t) => {
  const { port, server } = await listen(t, (socket) => {
    void readAll(socket).then((bytes) => socket.end(`got ${bytes.length}`))
  })
  equal(portOf(server), port)
  const socket = await dial(t, port)
  socket.end('12345')
  equal((await readAll(socket)).toString(), 'got 5')
})

for (const version of [15, 18] satisfies PostgresVersion[]) {
  test(`PostgreSQL ${version} starts, answers psql 15 and libpq 18, and is gone afterwards`, async (t) => {
    const seen = { pid: 0, folder: '' }
    await t.test('inner', async (inner) => {
      const server = await startTestPostgres(inner, { version, sql: ['create role alice login'] })
      seen.pid = server.pid
      seen.folder = server.socket
      match(await server.sql('show server_version'), new RegExp(`^${version}\\.`))
      equal(await server.sql("select current_setting('fsync')"), 'off')
      const conninfo = `host=127.0.0.1 port=${server.port} user=alice dbname=postgres`
      for (const libpq of [15, 18] as const) {
        const output = await psql(conninfo, ['-c', 'select current_user'], { libpq })
        equal(output.stdout, 'alice\n', output.stderr)
      }
      const refused = await psql(`${conninfo} sslmode=require`, ['-c', 'select 1'])
      equal(refused.code, 2)
      match(server.log(), /ready to accept connections/)
      await rejects(server.sql('select nonsense'), /column "nonsense" does not exist/)
    })
    equal(alive(seen.pid), false)
    equal(existsSync(seen.folder), false)
  })
}

test('the client libraries really are two: only libpq 18 knows sslnegotiation', async () => {
  const conninfo = `host=127.0.0.1 port=${await freePort()} sslnegotiation=direct sslmode=require`
  const old = await psql(conninfo, ['-c', 'select 1'])
  match(old.stderr, /invalid connection option "sslnegotiation"/)
  const recent = await psql(conninfo, ['-c', 'select 1'], { libpq: 18 })
  match(recent.stderr, /Connection refused/)
})

test('PostgreSQL with TLS asks for a certificate whose name is the database user', async (t) => {
  const folder = await temporaryFolder(t)
  const pki = await selfMade(folder)
  const server = await startTestPostgres(t, {
    version: 18,
    tls: { cert: pki.serverCert, key: pki.serverKey, ca: pki.ca },
    sql: ['create role alice login', 'create role bob login'],
  })
  const base = `host=127.0.0.1 port=${server.port} dbname=postgres sslmode=verify-full sslrootcert=${join(folder, 'ca.pem')}`
  const files = `sslcert=${join(folder, 'alice.pem')} sslkey=${join(folder, 'alice.key')}`
  const select = ['-c', 'select version from pg_stat_ssl where pid = pg_backend_pid()']
  const good = await psql(`${base} user=alice ${files}`, select)
  equal(good.stdout, 'TLSv1.3\n', good.stderr)
  const direct = await psql(`${base} user=alice ${files} sslnegotiation=direct`, select, {
    libpq: 18,
  })
  equal(direct.stdout, 'TLSv1.3\n', direct.stderr)
  match(
    (await psql(`${base} user=bob ${files}`, select)).stderr,
    /certificate authentication failed/,
  )
  match((await psql(`${base} user=alice`, select)).stderr, /client certificate/)
})

test('pgbench fills a database and runs its script', async (t) => {
  const server = await startTestPostgres(t, { version: 15 })
  const conninfo = `host=${server.socket} port=${server.port} user=postgres dbname=postgres`
  equal((await pgbench(conninfo, ['-i', '-q'])).code, 0)
  const output = await pgbench(conninfo, ['-S', '-t', '10', '-c', '2'])
  match(output.stdout, /number of transactions actually processed: 20\/20/)
})

test('a server that cannot start says why', async (t) => {
  const folder = await openFolder(t)
  await rejects(
    startPostgres(debianPostgres, { folder, settings: ['nonsense = 1'] }),
    /did not start: .*unrecognized configuration parameter "nonsense"/s,
  )
  const other = join(await openFolder(t), 'other')
  await rejects(
    startPostgres(debianPostgres, { folder: other, sql: ['select nonsense'] }),
    /a statement failed: .*nonsense/,
  )
})

test('a server keeps its data over a restart and does not outlive a parent that is killed', async (t) => {
  const folder = await openFolder(t)
  const script = join(await temporaryFolder(t), 'start.ts')
  await writeFile(
    script,
    `import { startPostgres, debianPostgres } from '${ROOT}/cli/postgres-server.ts'
     const server = await startPostgres(debianPostgres, { folder: '${folder}', sql: ['create table kept (n int)'] })
     console.log('pid', server.pid, 'ready')`,
  )
  const parent = startNode(t, script)
  const pid = Number(/\d+/.exec(await parent.line(/ready/))?.[0])
  ok(alive(pid))
  await parent.kill('SIGKILL')
  await goneSoon(pid)
  const server = await startPostgres(debianPostgres, { folder })
  atEnd(t, () => server.stop())
  const conninfo = `host=${server.socket} port=${server.port} user=postgres dbname=postgres`
  equal((await psql(conninfo, ['-c', 'select count(*) from kept'])).stdout, '0\n')
  await server.stop()
  await server.stop()
})

test('a copy of the embedded PostgreSQL is made once and made again when it is incomplete', async (t) => {
  const folder = join(await temporaryFolder(t), 'pg')
  const binaries = await copyEmbedded(folder)
  const marker = join(binaries.bin, 'marker')
  await writeFile(marker, '')
  await copyEmbedded(folder)
  ok(existsSync(marker))
  await rm(join(folder, 'complete'))
  await copyEmbedded(folder)
  equal(existsSync(marker), false)
})

/** Waits for the process's end: bounded, and without a fixed pause that is wrong on a slow machine. */
async function goneSoon(pid: number): Promise<void> {
  const output = await run('/usr/bin/timeout', [
    '20',
    '/usr/bin/tail',
    `--pid=${pid}`,
    '-f',
    '/dev/null',
  ])
  equal(output.code, 0, `process ${pid} is still there`)
}

/** A CA, a server and a client certificate made by openssl: a second writer, so that nothing of ours vouches for itself. */
async function selfMade(
  folder: string,
): Promise<{ ca: string; serverCert: string; serverKey: string }> {
  await writeFile(join(folder, 'server.ext'), 'subjectAltName=IP:127.0.0.1\n')
  await writeFile(join(folder, 'client.ext'), 'extendedKeyUsage=clientAuth\n')
  const lines = [
    'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem -subj /CN=ca -days 1',
    ...['server', 'alice'].flatMap((name) => [
      `openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ${name}.key -out ${name}.csr -subj /CN=${name}`,
      `openssl x509 -req -in ${name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out ${name}.pem -days 1 -extfile ${name === 'alice' ? 'client' : 'server'}.ext`,
    ]),
  ]
  const output = await run('/bin/sh', ['-e', '-c', `umask 077; ${lines.join('; ')}`], {
    cwd: folder,
  })
  equal(output.code, 0, output.stderr)
  const read = (name: string): Promise<string> => readFile(join(folder, name), 'utf8')
  return {
    ca: await read('ca.pem'),
    serverCert: await read('server.pem'),
    serverKey: await read('server.key'),
  }
}
