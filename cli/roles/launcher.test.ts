// The launcher as the supervisor starts it: what it is allowed, and whom its folders let through.

import assert from 'node:assert/strict'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import path from 'node:path'
import { it } from 'node:test'

import { silentLogger } from '../../core/log.ts'
import { atEnd, openFolder } from '../../test/fixtures/files.ts'
import { until } from '../../test/fixtures/sockets.ts'
import { launchPaths } from '../../workers/launch-wire.ts'
import { Child } from '../supervisor/child.ts'
import type { FromChild } from '../supervisor/messages.ts'
import { DEFAULT_UIDS } from '../supervisor/plan.ts'
import { readableRuntime } from '../supervisor/runtime.ts'

it('the launcher loads no addon, may start what sudo needs, and lets the agent in alone', async (context) => {
  const dataDir = await openFolder(context)
  await mkdir(path.join(dataDir, 'launcher'), { mode: 0o700 })
  const runtime = readableRuntime([DEFAULT_UIDS.agent])
  atEnd(context, () => runtime.dispose())
  const heard: FromChild[] = []
  const child = new Child({
    role: 'launcher',
    runtime,
    config: `sluice: { data_dir: ${dataDir} }\nssh_service: { enabled: yes }\n`,
    configFile: 'sluice.yaml',
    listeners: {},
    log: silentLogger,
    onMessage: (message) => void heard.push(message),
    onFailed: (message) => assert.fail(message),
  })
  atEnd(context, () => child.stop(10_000))
  await child.start()
  await until(() => heard.some(({ kind }) => kind === 'ready'), 'the launcher serves')
  const status = readFileSync(`/proc/${child.pid}/status`, 'utf8')
  assert.match(status, /^NoNewPrivs:\s+0$/m)
  assert.match(status, /^Uid:\s+0\s/m)
  assert.match(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8'), /--no-addons/)
  const paths = launchPaths(path.join(dataDir, 'launcher-sockets'))
  assert.deepEqual(ownership(paths.agent), [0, DEFAULT_UIDS.agent, 0o2710])
  assert.deepEqual(ownership(paths.launcher), [0, DEFAULT_UIDS.agent, 0o660])
  assert.deepEqual(ownership(paths.terminals), [DEFAULT_UIDS.agent, DEFAULT_UIDS.agent, 0o700])
  assert.deepEqual(ownership(path.join(dataDir, 'launcher')), [0, 0, 0o700])
  await child.stop(10_000)
  assert.equal(existsSync(paths.launcher), false)
})

function ownership(file: string): readonly number[] {
  const { uid, gid, mode } = statSync(file)
  return [uid, gid, mode & 0o7777]
}
