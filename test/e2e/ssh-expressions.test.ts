// A role whose label expression compares a node's labels with the person's traits, whole: control takes it, its snapshot carries it, the
// proxy and the agent judge by it, and the list shows what it lets in.

import assert from 'node:assert/strict'
import { before, describe, it } from 'node:test'

import { newPerson, type TestPerson } from '../fixtures/control.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import { realAgent } from '../fixtures/members.ts'
import { until } from '../fixtures/sockets.ts'
import { proofOf, run, type SshPerson, type SshWorld, sshWorld } from '../fixtures/ssh-world.ts'

const ROLE = {
  kind: 'role',
  version: 'v7',
  metadata: { name: 'own' },
  spec: {
    allow: {
      logins: ['{{internal.logins}}'],
      node_labels_expression: 'contains(user.spec.traits["env"], labels["env"])',
    },
  },
}

describe('a role with a label expression', () => {
  const cleanup = suiteCleanup()
  let world: SshWorld
  let bob: TestPerson & SshPerson

  before(async () => {
    let launcher = ''
    world = await sshWorld(cleanup, undefined, {
      launcher: (folder) => Promise.resolve((launcher = folder)),
    })
    const { control, proxy, login } = world
    const other = await realAgent(cleanup, control, {
      name: 'stock',
      targetPort: 1,
      proxies: [`127.0.0.1:${proxy.port}`],
      node: { name: 'web-2', launcher, labels: { env: 'stage' } },
    })
    await until(() => other.agent.linkedProxies > 0, 'the second agent is linked')
    await control.admin.call('resource-create', { kind: 'role', document: ROLE })
    const person = await newPerson(control, 'bob', ['own'], { logins: [login], env: ['test'] })
    bob = { ...person, shown: person, proof: await proofOf(control, person) }
  })

  it('lets its holder into the node whose labels are theirs, and not into another', async () => {
    const connected = await world.connect({ who: bob })
    assert.equal(await run(connected, 'id -un'), `${world.login}\n`)
    connected.connection.end()
    const { answer, socket } = await world.wayTo('web-2', bob)
    assert.match(answer, /^no role of yours grants a node of this name/)
    socket.destroy()
    // The other node is there, and whoever's role has all labels gets in.
    const alice = await world.wayTo('web-2')
    assert.equal(alice.answer, 'ok')
    alice.socket.destroy()
  })

  it('shows its holder the nodes it lets them into, whatever they ask for', async () => {
    const names = async (request: object): Promise<readonly string[]> =>
      (await bob.client.call('nodes', request)).items.map(({ name }) => name)
    assert.deepEqual(await names({}), ['web-1'])
    assert.deepEqual(await names({ query: 'hasPrefix(name, "web")' }), ['web-1'])
    assert.deepEqual(await names({ query: 'labels["env"] == "stage"' }), [])
  })
})
