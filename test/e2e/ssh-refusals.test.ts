// Who does not get in by SSH, and what they are told: each wrong certificate at the agent in node mode, at the proxy in proxy mode, and
// at the agent behind a proxy that forwards what it should have refused. Every refusal has its words, its event and no effect: the
// launcher is never asked. The CA keys are stolen, so that all but one detail is genuine.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { cell } from '../fixtures/cells.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { type Door, type Doors, refuses, sshDoors } from '../fixtures/ssh-doors.ts'
import { type Shown, sshForged, type WrongSsh, wrongSsh } from '../fixtures/ssh-forge.ts'
import { run } from '../fixtures/ssh-world.ts'

const MATRIX = 'who gets in by SSH'
const NODE_MODE = 'sluice: { insecure_keys: true }\n'
const PROXY_MODE = `${NODE_MODE}auth_service: { session_recording: proxy }\n`
const PROXY_HOST = '127.0.0.1'

const COLUMNS = [
  { column: 'node mode, at the agent', open: ({ node }: Both): Door => node.byLine('', 'web-1') },
  { column: 'proxy mode, at the proxy', open: ({ proxy }: Both): Door => proxy.byLine('', PROXY_HOST) },
  { column: 'proxy mode, at the agent', open: ({ proxy }: Both): Door => proxy.forwarded('') },
  { column: 'a jump, at the proxy', open: ({ node }: Both): Door => node.byJump('') },
] as const

interface Both {
  readonly node: Doors
  readonly proxy: Doors
}

describe('who gets in by SSH', () => {
  const cleanup = suiteCleanup()
  let both: Both

  before(async () => {
    both = { node: await sshDoors(cleanup, NODE_MODE), proxy: await sshDoors(cleanup, PROXY_MODE) }
  })

  it('debug', async (context) => {
    for (const { column, open } of COLUMNS) {
      const door = open(both)
      const { world, ssh, alice, genuine } = door.doors
      const ok = await door.knock(genuine, world.login)
      console.log(column, ok.said ?? 'IN')
      if (ok.connected !== undefined && !column.includes('jump')) console.log(await run(ok.connected, 'id -un'))
      console.log(door.doors.tap.asked.length)
      for (const wrong of wrongSsh(ssh, alice, world.login, genuine)) {
        const told = door.events.all.length
        const { said, connected } = await door.knock(wrong.shown, wrong.as ?? world.login)
        connected?.connection.end()
        await new Promise((r) => setTimeout(r, 50))
        console.log(column, '|', wrong.what, '|', said ?? 'IN!!!!', '|', wrong.reason.test(said ?? ''), JSON.stringify(door.events.all.slice(told).map(e => [e.code, e.fields.reason, e.fields.error])))
      }
    }
  })
})
