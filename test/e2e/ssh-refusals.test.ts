// Who does not get in by SSH, and what they are told: each wrong certificate at the agent in node mode, at the proxy in proxy mode, at
// the agent behind a proxy that forwards what it should have refused, and at a jump. Every refusal has its words, its event and no
// effect: the launcher is never asked. The CA keys are stolen, so that all but one detail is genuine.

import assert from 'node:assert/strict'
import { before, describe, it, type TestContext } from 'node:test'

import { cell } from '../fixtures/cells.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { identityOf, wrongUsers } from '../fixtures/forge.ts'
import { type Door, type Doors, refuses, sshDoors } from '../fixtures/ssh-doors.ts'
import { type Shown, sshForged, type WrongSsh, wrongSsh } from '../fixtures/ssh-forge.ts'
import { until } from '../fixtures/sockets.ts'
import { run } from '../fixtures/ssh-world.ts'

const MATRIX = 'who gets in by SSH'
const NODE_MODE = 'sluice: { insecure_keys: true }\n'
const PROXY_MODE = `${NODE_MODE}auth_service: { session_recording: proxy }\n`
const FORWARDED = 'proxy mode, at the agent'
const LINE = 'the line before SSH'
const JUMP = 'a jump'

describe('who gets in by SSH', () => {
  const cleanup = suiteCleanup()
  let doors: readonly Door[]
  let places: readonly [Doors, Doors]

  before(async () => {
    const node = await sshDoors(cleanup, NODE_MODE)
    const proxy = await sshDoors(cleanup, PROXY_MODE)
    places = [node, proxy]
    doors = [
      node.byLine('node mode, at the agent', 'web-1'),
      proxy.byLine('proxy mode, at the proxy', '127.0.0.1'),
      proxy.forwarded(FORWARDED),
      node.byJump(JUMP),
    ]
  })

  /** One row of the matrix: a cell for each door. */
  async function row(
    context: TestContext,
    what: string,
    work: (door: Door) => Promise<void>,
  ): Promise<void> {
    for (const door of doors)
      await context.test(door.column, (test) =>
        cell(test, { matrix: MATRIX, column: door.column, row: what }, () => work(door)),
      )
  }

  const forged = (
    { doors: { ssh, alice, world } }: Door,
    critical: Record<string, string>,
  ): Shown => sshForged(ssh.user, alice, world.login, { critical })

  it('does: whoever has a certificate of today, as the login it names', async (context) => {
    await row(context, 'a genuine certificate', async (door) => {
      const { genuine, world, tap } = door.doors
      const launches = tap.asked.length
      assert.equal(await ran(door, genuine), `${world.login}\n`)
      assert.ok(tap.asked.length > launches, 'the launcher was not asked: this rig sees nothing')
    })
  })

  it('does: whoever comes from an address that the certificate is for', async (context) => {
    await row(context, 'source-address of ours', async (door) => {
      const shown = forged(door, { 'source-address': '198.51.100.0/24,127.0.0.0/8' })
      assert.equal(await ran(door, shown), `${door.doors.world.login}\n`)
    })
  })

  it('does, but runs nothing except what the certificate commands', async (context) => {
    await row(context, 'force-command', async (door) => {
      const shown = forged(door, { 'force-command': 'echo "forced for $SSH_ORIGINAL_COMMAND"' })
      assert.equal(await ran(door, shown), 'forced for id -un\n')
    })
  })

  it('does not: whoever shows anything else', async (context) => {
    for (const door of doors) {
      const { ssh, alice, world, genuine } = door.doors
      const wrongs = wrongSsh(ssh, alice, world.login, genuine)
      assert.ok(wrongs.length > 20)
      for (const wrong of wrongs)
        await context.test(`${wrong.what}, ${door.column}`, (test) =>
          cell(test, { matrix: MATRIX, column: door.column, row: wrong.what }, () =>
            knocked(door, wrong),
          ),
        )
    }
  })

  it('does not: whoever has no login certificate for the line before SSH', async (context) => {
    const { world, forge } = places[0]
    const person = identityOf(world.alice.certificate)
    assert.ok(person.type === 'user')
    for (const { what, shown } of wrongUsers(forge, person))
      await context.test(what, (test) =>
        cell(test, { matrix: MATRIX, column: LINE, row: what }, async () => {
          const { all } = world.proxy.events
          const told = all.length
          const { answer } = await world.wayTo('web-1', { shown })
          assert.match(answer, /certificate/)
          await until(
            () => all.slice(told).some(({ code }) => code === 'T3007W' || code === 'SLR006W'),
            'the refusal is told',
          )
        }),
      )
  })
})

/** A reason when this door cannot see what is wrong. */
async function knocked(door: Door, wrong: WrongSsh): Promise<string | void> {
  if (wrong.shows === 'proof' && door.column === FORWARDED)
    return 'the proxy alone sees the proof: it may forward who came to it'
  return await refuses(door, { as: door.doors.world.login, ...wrong })
}

/** What a command says to whoever got in. */
async function ran({ knock, doors }: Door, shown: Shown): Promise<string> {
  const { connected, said } = await knock(shown, doors.world.login)
  if (connected === undefined) throw new Error(said)
  const output = await run(connected, 'id -un')
  connected.connection.end()
  return output
}
