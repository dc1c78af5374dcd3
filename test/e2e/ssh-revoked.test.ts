// What ends SSH that runs, and keeps it from beginning again: locks on everything a session has, credentials that were reset, an account
// that is gone. In node mode, in proxy mode, and at the agent behind a proxy that goes on for who should be gone. The person reads why
// on the terminal.

import assert from 'node:assert/strict'
import { hash, X509Certificate } from 'node:crypto'
import { before, describe, it } from 'node:test'

import type { ClientIdentity } from '../../control/api/connection.ts'
import type { JsonObject } from '../../control/api/messages.ts'
import { cell } from '../fixtures/cells.ts'
import { newPerson } from '../fixtures/control.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { identityOf } from '../fixtures/forge.ts'
import { until } from '../fixtures/sockets.ts'
import { type Door, type Doors, sshDoors } from '../fixtures/ssh-doors.ts'
import { sshForged } from '../fixtures/ssh-forge.ts'

const MATRIX = 'what ends SSH'
const NODE_MODE = 'sluice: { insecure_keys: true }\n'
const PROXY_MODE = `${NODE_MODE}auth_service: { session_recording: proxy }\n`

const FORWARDED = 'proxy mode, at the agent'

type Target = (doors: Doors, door: Door) => Readonly<Record<string, string>>

const LOCKS: readonly (readonly [what: string, target: Target])[] = [
  ['a lock on the user', () => ({ user: 'alice' })],
  ['a lock on a role', () => ({ role: 'access' })],
  ['a lock on the login', ({ world }) => ({ login: world.login })],
  ['a lock on the node', () => ({ node: 'web-1' })],
  ['a lock on the agent as a node', ({ world }) => ({ node: world.agent.member.id })],
  ['a lock on the certificate', ({ serial }) => ({ certificate_serial: serial })],
  ['a lock on the key', ({ keySha256 }) => ({ key_sha256: keySha256 })],
]

describe('what ends SSH that runs', () => {
  const cleanup = suiteCleanup()
  let doors: readonly Door[]

  before(async () => {
    const node = await sshDoors(cleanup, NODE_MODE)
    const proxy = await sshDoors(cleanup, PROXY_MODE)
    doors = [
      node.byLine('node mode, at the agent', 'web-1'),
      proxy.byLine('proxy mode, at the proxy', '127.0.0.1'),
      proxy.forwarded(FORWARDED),
      node.byJump('a jump'),
    ]
  })

  for (const [what, target] of LOCKS)
    it(`${what}, until it is gone`, async (context) => {
      for (const door of doors)
        await context.test(door.column, (test) =>
          cell(test, { matrix: MATRIX, column: door.column, row: what }, async () => {
            const { world, genuine, tap } = door.doors
            const live = await running(door)
            const sinceMs = performance.now()
            await lock(door, target(door.doors, door))
            assert.match(await live.rest(), /lock targeting .* is in force: suspected/)
            test.diagnostic(`ended after ${Math.round(performance.now() - sinceMs)} ms`)
            const launches = tap.asked.length
            await isTold(door)
            const again = await door.knock(genuine, world.login)
            assert.match(again.said ?? 'it was let in', /lock targeting .* is in force: suspected/)
            assert.equal(tap.asked.length, launches)
            await unlock(door)
            await letIn(door)
          }),
        )
    })

  it('a lock on the certificate or key of the way in, though SSH was proved with others', async (context) => {
    const [, door] = doors
    assert.ok(door !== undefined)
    const { serialNumber, publicKey } = new X509Certificate(door.doors.world.alice.certificate)
    const spki = publicKey.export({ type: 'spki', format: 'der' })
    for (const [what, target] of [
      ['certificate', { certificate_serial: serialNumber.toLowerCase() }],
      ['key', { key_sha256: hash('sha256', spki, 'hex') }],
    ] as const)
      await context.test(what, (test) =>
        cell(
          test,
          { matrix: MATRIX, column: door.column, row: `a lock on the ${what} of the way in` },
          async () => {
            const live = await running(door)
            await lock(door, target)
            assert.match(await live.rest(), /lock targeting .* is in force: suspected/)
            await unlock(door)
            await letIn(door)
          },
        ),
      )
  })

  const RESETS = [
    [
      'the account is deleted',
      'bob',
      (name: string, { world }: Doors) =>
        world.control.admin.call('resource-delete', { kind: 'user', name }),
    ],
    [
      'the credentials are reset',
      'carol',
      (name: string, { world }: Doors) => world.control.admin.call('user-reset', { name }),
    ],
  ] as const
  for (const [what, who, act] of RESETS)
    it(`${what}: for good`, async (context) => {
      for (const door of doors)
        await context.test(door.column, (test) =>
          cell(test, { matrix: MATRIX, column: door.column, row: what }, async () => {
            const { world, ssh, tap } = door.doors
            const name = `${who}-${doors.indexOf(door)}`
            const person = await newPerson(world.control, name, ['access'], {
              logins: [world.login],
            })
            const identity = identityOf(person.certificate)
            assert.ok(identity.type === 'user')
            const shown = sshForged(ssh.user, identity, world.login)
            const live = await running(door, shown, person)
            await act(name, door.doors)
            assert.match(
              await live.rest(),
              /credentials of this user were reset\. Log in again: tsh login\./,
            )
            await isTold(door)
            const launches = tap.asked.length
            const { said } = await door.knock(shown, world.login, person)
            assert.match(said ?? 'it was let in', /account was reset since this login/)
            assert.equal(tap.asked.length, launches)
          }),
        )
    })

  it('a role that is gone, or does not grant the node any more, lets nobody begin', async (context) => {
    for (const door of doors)
      await context.test(door.column, (test) =>
        cell(test, { matrix: MATRIX, column: door.column, row: 'a role is gone' }, () =>
          roleGone(door),
        ),
      )
  })

  it('a lock on a host that it runs through', async (context) => {
    const [line, atProxy, forwarded, jump] = doors
    assert.ok(line !== undefined && atProxy !== undefined)
    assert.ok(forwarded !== undefined && jump !== undefined)
    const ends = async (what: string, id: string, through: readonly Door[]): Promise<void> => {
      const live = await Promise.all(through.map((door) => running(door)))
      await lock(through[0] ?? line, { server_id: id }, what.replaceAll(' ', '-'))
      for (const [at, { column }] of through.entries())
        await context.test(`${what}, ${column}`, (test) =>
          cell(test, { matrix: MATRIX, column, row: `a lock on the ${what}` }, async () => {
            assert.match((await live[at]?.rest()) ?? '', /lock targeting ServerID:.* is in force/)
          }),
        )
    }
    const { hostile, world } = forwarded.doors
    const proxies = [line.doors.world.proxy, world.proxy].map(({ member }) => member.id)
    await ends('proxy', proxies[0] ?? '', [line, jump])
    await agentsEnd(line)
    await ends('proxy that records', proxies[1] ?? '', [atProxy])
    await agentsEnd(atProxy)
    for (const door of [line, atProxy]) {
      await unlock(door, door === line ? 'proxy' : 'proxy-that-records')
      await letIn(door)
    }
    await ends('proxy that forwards', hostile.member.id, [forwarded])
    await ends('agent', world.agent.member.id, [atProxy])
    await ends('agent of a node', line.doors.world.agent.member.id, [line, jump])
  })
})

/** A role that grants the node until it is changed, and then until it is deleted. */
async function roleGone({ doors, knock }: Door): Promise<void> {
  const { world, ssh, alice } = doors
  const { admin } = world.control
  const role = (env: string): { kind: string; name: string; document: JsonObject } => ({
    kind: 'role',
    name: 'ops',
    document: {
      kind: 'role',
      version: 'v7',
      metadata: { name: 'ops' },
      spec: { allow: { logins: [world.login], node_labels: { env: [env] } } },
    },
  })
  await admin.call('resource-create', { kind: 'role', document: role('test').document })
  const shown = sshForged(ssh.user, { ...alice, roles: ['ops'] }, world.login)
  const settles = async (allowed: boolean): Promise<string> => {
    for (let round = 0; round < 200; round++) {
      const { connected, said } = await knock(shown, world.login)
      connected?.connection.end()
      if ((connected !== undefined) === allowed) return said ?? ''
    }
    return assert.fail('the change is not heard of')
  }
  await settles(true)
  await admin.call('resource-put', { ...role('prod'), force: true })
  assert.match(await settles(false), /no role of yours|let them see/)
  await admin.call('resource-put', { ...role('test'), force: true })
  await settles(true)
  await admin.call('resource-delete', { kind: 'role', name: 'ops' })
  assert.match(await settles(false), /no role of yours|let them see/)
}

async function isTold({ hosts }: Door): Promise<void> {
  const told = (): boolean =>
    hosts.some(({ all }) => all.some(({ name }) => name === 'client.disconnect'))
  await until(told, 'the end is told')
  for (const { all } of hosts) all.length = 0
}

async function lock(
  { doors }: Door,
  target: Readonly<Record<string, string>>,
  name = 'l1',
): Promise<void> {
  await doors.world.control.admin.call('resource-create', {
    kind: 'lock',
    document: {
      kind: 'lock',
      version: 'v2',
      metadata: { name },
      spec: { target, message: 'suspected' },
    },
  })
}

async function unlock({ doors }: Door, name = 'l1'): Promise<void> {
  await doors.world.control.admin.call('resource-delete', { kind: 'lock', name })
}

/** The agent has heard of a lock that its proxy alone could tell it of, and has ended what came through there. */
async function agentsEnd({ doors }: Door): Promise<void> {
  const { agent } = doors.world
  await until(() => agent.agent.sessions === 0, 'the agent has no session')
  await agent.events.have('client.disconnect', {})
}

/** Until whoever was refused gets in: the news is on its way. */
async function letIn(door: Door): Promise<void> {
  for (let round = 0; round < 200; round++) {
    const { connected } = await door.knock(door.doors.genuine, door.doors.world.login)
    connected?.connection.end()
    if (connected !== undefined) return
  }
  assert.fail('nobody is let in again')
}

/** A command that would run for ever, and what is said until its channel ends. */
async function running(
  door: Door,
  shown = door.doors.genuine,
  who?: ClientIdentity,
): Promise<{ rest(): Promise<string> }> {
  const { connected, said } = await door.knock(shown, door.doors.world.login, who)
  if (connected === undefined) throw new Error(said)
  const channel = await connected.connection.open({ kind: 'session' })
  assert.ok(await channel.request({ kind: 'exec', command: Buffer.from('exec tail -f /dev/null') }))
  return {
    async rest() {
      let text = ''
      for (let data = await channel.read(); data !== undefined; data = await channel.read())
        text += Buffer.from(data.bytes).toString()
      return text
    },
  }
}
