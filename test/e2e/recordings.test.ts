// psql sessions recorded by a whole Sluice and played back: in both of the agent's modes, with none in `off`, and completed after the
// agent was killed in the middle of one.

import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'

import { RecordingReader, storedBytes } from '../../cli/recording/read.ts'
import { TextWriter } from '../../cli/recording/text.ts'
import { type Cluster, startCluster, type TestUser } from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { psql } from '../fixtures/psql.ts'

const SERVICE = 'pg'
interface Played {
  readonly text: string
  readonly reader: RecordingReader
}

async function play(cluster: Cluster, sid: string): Promise<Played> {
  const reader = new RecordingReader(storedBytes(cluster.admin, sid))
  const writer = new TextWriter()
  let text = ''
  for await (const event of reader.events()) text += writer.event(event)
  return { text, reader }
}

async function mode(cluster: Cluster, mode: string): Promise<void> {
  const name = 'session-recording-config'
  const document = {
    kind: 'session_recording_config',
    version: 'v2',
    metadata: { name },
    spec: { mode },
  }
  const kind = 'session_recording_config'
  await cluster.admin.call('resource-put', { kind, name, document, force: true })
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

describe('recordings of psql sessions', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let user: TestUser
  before(async () => {
    cluster = await startCluster(cleanup, { databases: { [SERVICE]: { version: 15 } } })
    user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
  })

  /** Runs psql until every part of Sluice has heard of the mode; the id of its session. */
  async function session(...sql: readonly string[]): Promise<string> {
    const access = await user.database(SERVICE)
    for (const endMs = performance.now() + 15_000; ; ) {
      const known = new Set((await cluster.events('db.session.end')).map(({ sid }) => sid))
      const args = sql.flatMap((each) => ['-c', each])
      const { stdout, stderr } = await psql(access.conninfo, args)
      assert.ok(performance.now() < endMs, stderr)
      if (!stdout.includes('42')) continue
      const { sid } = await cluster.event('db.session.end', (event) => !known.has(event['sid']))
      return textOf(sid)
    }
  }

  it('hold every statement in each mode, whoever reads the session, and control has them whole', async () => {
    const { agents, proxies } = await cluster.admin.call('status', {})
    const ids = { agents: agents[0]?.id, proxies: proxies[0]?.id }
    for (const each of ['node-sync', 'proxy', 'proxy-sync', 'node'] as const) {
      await mode(cluster, each)
      const sid = await session('SELECT 42', 'SELECT * FROM nowhere', 'SELECT 1\n UNION SELECT 2')
      const upload = await cluster.event('session.upload', (event) => event['sid'] === sid)
      const { text, reader } = await play(cluster, sid)
      assert.deepEqual(reader.damages, [])
      assert.match(
        text,
        /session begins: .*db_service=pg .*\n.*SELECT 42  \(1 row, [\d.]+ ms\)\n.*SELECT \* FROM nowhere.*\n +ERROR: relation "nowhere" does not exist\n.*SELECT 1 UNION SELECT 2  \(2 rows, .*\n.*session ends: /,
      )
      assert.equal(upload['recorded_bytes'], reader.bytes)
      assert.equal(upload['server_id'], ids[each.startsWith('proxy') ? 'proxies' : 'agents'])
      const told = await cluster.event('session.recording.chunks', (event) => event['sid'] === sid)
      assert.equal(told['chunk_hash'], upload['chunk_hash'])
    }
  })

  it('of an agent that is killed are completed when it starts again, and say so', async () => {
    const { conninfo } = await user.database(SERVICE)
    const known = new Set((await cluster.events('session.recording.chunks')).map(({ sid }) => sid))
    const input = "SELECT 'before';\nSELECT pg_sleep(600);\n"
    const running = psql(conninfo, [], { input })
    const { sid } = await cluster.event(
      'session.recording.chunks',
      (event) => !known.has(event['sid']),
    )
    process.kill(cluster.pid('agent'), 'SIGKILL')
    await running
    const upload = await cluster.event('session.upload', (event) => event['sid'] === sid)
    assert.match(textOf(upload['reason']), /the process that recorded it ended before/)
    const { text, reader } = await play(cluster, textOf(sid))
    assert.deepEqual(reader.damages, [])
    assert.match(text, /SELECT 'before'.*\n.*session ends: the process that recorded it ended/)
  })

  it('are not made in the mode off', async () => {
    await mode(cluster, 'off')
    const count = async (): Promise<number> =>
      (await cluster.admin.call('recording-list', {})).items.length
    // The first may have begun before the agent heard of it.
    await session('SELECT 42')
    const sid = await session('SELECT 42')
    assert.ok((await count()) >= 5)
    const files = await readdir(join(cluster.folder, 'data/agent/recordings'))
    assert.ok(!files.includes(`${sid}.rec`))
    const types = 'session.recording.chunks,session.upload'
    assert.ok((await cluster.events(types)).every((event) => event['sid'] !== sid))
  })
})
