// A gigabyte that a terminal shows, recorded by the agent and by the proxy: the recording is whole, and nobody's memory grows with it.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, it } from 'node:test'

import { RecordingReader, storedBytes } from '../../cli/recording/read.ts'
import { eventually } from '../faults/eventually.ts'
import type { Cluster } from '../fixtures/cluster.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { sshNode } from '../fixtures/ssh-node.ts'
import { PIECE_BYTES, ROLES, torrent } from '../fixtures/torrent.ts'

const MB = 1024 * 1024
const TOTAL_BYTES = 1024 * MB
/** What the collector has not come to yet is in it; what recorders hold is bounded exactly in their own tests. */
const GROWTH_MAX = 384 * MB
const UPLOADED_MS = 120_000

describe('a gigabyte that a terminal shows', () => {
  const cleanup = suiteCleanup()

  for (const mode of ['node', 'proxy'] as const)
    it(`is recorded whole in bounded memory in the mode ${mode}`, async (context) => {
      const { cluster, sit } = await sshNode(cleanup, mode)
      const { seat } = await sit('alice', ['access'])
      const { sent, got, seconds, cpuMs, growthBytes } = await torrent(
        cluster,
        seat,
        TOTAL_BYTES / PIECE_BYTES,
      )
      assert.equal(got, sent)
      for (const role of ROLES) {
        const [cpu, grown] = [cpuMs[role] / (TOTAL_BYTES / MB), growthBytes[role] / MB]
        context.diagnostic(`${role}: ${cpu.toFixed(1)} ms/MB, ${grown.toFixed(0)} MB more`)
        assert.ok(growthBytes[role] < GROWTH_MAX, `${role} grew by ${grown} MB`)
      }
      context.diagnostic(`${(TOTAL_BYTES / MB / seconds).toFixed(1)} MB/s`)
      assert.equal(await recorded(cluster, mode === 'node' ? 'agent' : 'proxy'), sent)
    })
})

/** SHA-256 of what control has of the only recording, once nothing of it is left at its recorder. */
async function recorded(cluster: Cluster, recorder: 'agent' | 'proxy'): Promise<string> {
  const folder = join(cluster.folder, 'data', recorder, 'recordings')
  const uploaded = async (): Promise<boolean> =>
    (await readdir(folder)).every((name) => !name.endsWith('.rec'))
  await eventually(uploaded, UPLOADED_MS, 'the recording is at control alone')
  const { items } = await cluster.admin.call('recording-list', {})
  assert.equal(items.length, 1)
  const hash = createHash('sha256')
  const reader = new RecordingReader(storedBytes(cluster.admin, items[0]?.sid ?? ''))
  for await (const event of reader.events()) if (event.kind === 'print') hash.update(event.bytes)
  assert.deepEqual(reader.damages, [])
  return hash.digest('hex')
}
