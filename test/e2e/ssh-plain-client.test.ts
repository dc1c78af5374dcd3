// OpenSSH's own client at the doors: what a person reads who shows a wrong certificate, and that the launcher hears nothing of it; what
// whoever names no node is shown at the public port. Every wrong certificate, with its event, is in ssh-refusals.test.ts.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import type { JsonObject } from '../../control/api/messages.ts'
import { cell } from '../fixtures/cells.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import type { Output } from '../fixtures/processes.ts'
import { type Doors, sshDoors } from '../fixtures/ssh-doors.ts'
import { sshForged, type WrongSsh, wrongSsh } from '../fixtures/ssh-forge.ts'
import {
  type Route,
  routeByJump,
  routeByLine,
  routeForwarded,
  routeToProxy,
  Stranger,
} from '../fixtures/ssh-stranger.ts'

const MATRIX = 'what OpenSSH’s client reads of a refusal'
const NODE_MODE = 'sluice: { insecure_keys: true }\n'
const PROXY_MODE = `${NODE_MODE}auth_service: { session_recording: proxy }\n`

/** Of all that is wrong, what each kind of person meets. */
const SHOWN = [
  'expired',
  'foreign CA',
  'wrong principal',
  'nested certificate',
  'plain key',
  'identity of somebody else',
  'login of no role',
]

const DENIED = /Permission denied \(publickey\)/

interface Place {
  readonly column: string
  readonly doors: Doors
  readonly route: Route
  /** All that is said of what proves nothing: ssh’s own word, or the agent’s of a certificate that a proxy forwards and nobody can read. */
  readonly unproved: RegExp
}

describe('OpenSSH’s own client', () => {
  const cleanup = suiteCleanup()
  let places: readonly Place[]
  let node: Doors

  before(async () => {
    node = await sshDoors(cleanup, NODE_MODE)
    const proxy = await sshDoors(cleanup, PROXY_MODE)
    places = [
      { column: 'node mode', doors: node, route: routeByLine(node, 'web-1'), unproved: DENIED },
      {
        column: 'proxy mode',
        doors: proxy,
        route: routeByLine(proxy, '127.0.0.1'),
        unproved: DENIED,
      },
      {
        column: 'forwarded',
        doors: proxy,
        route: routeForwarded(proxy),
        unproved: /who may log in cannot be decided/,
      },
      { column: 'ssh -J', doors: node, route: routeByJump(node), unproved: DENIED },
    ]
    for (const { world } of [node, proxy])
      await world.control.admin.call('resource-create', {
        kind: 'role',
        document: elsewhere(world.login),
      })
  })

  function ssh({ doors, route }: Place, { shown, as = doors.world.login }: Who): Promise<Output> {
    return new Stranger(cleanup, doors).ssh(route, { shown, as, command: ['id', '-un'] })
  }

  it('gets in with a genuine certificate by each way', async (context) => {
    for (const place of places)
      await context.test(place.column, async () => {
        const { genuine, world, tap } = place.doors
        const launches = tap.asked.length
        const { code, stdout, stderr } = await ssh(place, { shown: genuine })
        assert.deepEqual([code, stdout], [0, `${world.login}\n`], stderr)
        assert.ok(tap.asked.length > launches, 'the launcher was not asked: this rig sees nothing')
      })
  })

  it('is told why it is refused, ends with 255, and starts nothing', async (context) => {
    for (const place of places)
      for (const wrong of wrongs(place.doors))
        await context.test(`${wrong.what}, ${place.column}`, (test) =>
          cell(test, { matrix: MATRIX, column: place.column, row: wrong.what }, async () => {
            const { asked } = place.doors.tap
            const launches = asked.length
            const { code, stdout, stderr } = await ssh(place, wrong)
            assert.deepEqual([code, stdout], [255, ''], stderr)
            assert.match(stderr, wrong.shows === 'nothing' ? place.unproved : wrong.reason)
            assert.doesNotMatch(stderr, /Host key verification|No such file|bad permissions/)
            assert.equal(asked.length, launches, 'the launcher was asked')
          }),
        )
  })

  it('shows the nodes of whoever names none, with a terminal and without, and runs nothing else', async () => {
    const { genuine } = node
    const list = (options: readonly string[], command: readonly string[] = []): Promise<Output> =>
      new Stranger(cleanup, node).ssh(routeToProxy(node), {
        shown: genuine,
        as: 'anybody',
        options,
        command,
      })
    const plain = await list([])
    assert.equal(plain.code, 0, plain.stderr)
    assert.match(plain.stdout, /^Node Name +Address +Host +Labels\n-+ -+ -+ -+\nweb-1 +⟵ Agent /)
    assert.match(
      plain.stdout,
      / web-1\.sluice\.test +env=test\n\nGo on with: ssh -J 127\.0\.0\.1:\d+ /,
    )
    const there = await list(['-tt'])
    assert.equal(there.code, 0, there.stderr)
    assert.equal(there.stdout, plain.stdout.replaceAll('\n', '\r\n'))
    assert.equal((await list([], ['ls'])).stdout, plain.stdout)
    assert.equal((await list([], ['ls', '--format=names'])).stdout, 'web-1\n')
    const json = await list([], ['ls', '--format=json'])
    assert.equal((JSON.parse(json.stdout) as readonly { name: string }[])[0]?.name, 'web-1')
    const { code, stdout, stderr } = await list([], ['id'])
    assert.deepEqual([code, stdout], [1, ''])
    assert.match(stderr, /"ls" lists those you may reach, "ssh -J"/)
    const launches = node.tap.asked.length
    assert.equal((await list(['-s'], ['sftp'])).code, 255)
    assert.equal(node.tap.asked.length, launches)
  })

  it('shows nothing to who is expired, and no node that no role shows', async () => {
    const { world, ssh: cas, alice } = node
    const list = (over: object, shownAs = alice): Promise<Output> =>
      new Stranger(cleanup, node).ssh(routeToProxy(node), {
        shown: sshForged(cas.user, shownAs, world.login, over),
        as: 'anybody',
      })
    const nowS = BigInt(Math.floor(Date.now() / 1000))
    const expired = await list({ validAfter: nowS - 3600n, validBefore: nowS - 60n })
    assert.deepEqual([expired.code, expired.stdout], [255, ''])
    assert.match(expired.stderr, /it has expired/)
    const elsewhereOnly = await list({}, { ...alice, roles: ['elsewhere'] })
    assert.match(elsewhereOnly.stdout, /^No nodes that your roles let you see\./)
    assert.equal(elsewhereOnly.code, 0)
  })

  it('shows nothing to who is locked, from the moment of the lock', async () => {
    const { world, genuine } = node
    await world.control.admin.call('resource-create', {
      kind: 'lock',
      document: {
        kind: 'lock',
        version: 'v2',
        metadata: { name: 'l1' },
        spec: { target: { user: 'alice' }, message: 'suspected' },
      },
    })
    const stranger = new Stranger(cleanup, node)
    const call = { shown: genuine, as: 'anybody' }
    const { code, stdout, stderr } = await stranger.ssh(routeToProxy(node), call)
    assert.deepEqual([code, stdout], [255, ''])
    assert.match(stderr, /lock targeting User:"alice" is in force: suspected/)
  })
})

type Who = Pick<WrongSsh, 'shown' | 'as'>

function wrongs({ ssh, alice, world, genuine }: Doors): readonly WrongSsh[] {
  const known = wrongSsh(ssh, alice, world.login, genuine)
  const chosen = SHOWN.map((what) => {
    const wrong = known.find((each) => each.what === what)
    assert.ok(wrong !== undefined, what)
    return wrong
  })
  const shown = sshForged(ssh.user, { ...alice, roles: ['elsewhere'] }, world.login)
  return [...chosen, { what: 'labels of no role', shown, reason: /no role of yours|let them see/ }]
}

/** Grants other nodes than the one there is. */
function elsewhere(login: string): JsonObject {
  return {
    kind: 'role',
    version: 'v7',
    metadata: { name: 'elsewhere' },
    spec: { allow: { logins: [login], node_labels: { env: ['prod'] } } },
  }
}
