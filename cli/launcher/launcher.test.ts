// The launcher as a process, as root, with its agent's end: programs of logins, what is refused, what is left behind.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { exec, say, startWorld, throwawayLogin } from './launcher.fixture.ts'

describe('a program of a login', () => {
  it('runs as the login, with its groups and no other', async (context) => {
    const world = await startWorld(context)
    const login = await throwawayLogin(context)
    const { out, err, exit } = await say(
      world.machine(login),
      exec('id -un; id -Gn; pwd; echo oops >&2; exit 3'),
    )
    assert.equal(err, 'oops\n')
    const [name, groups = '', home] = out.split('\n')
    assert.equal(name, login)
    assert.deepEqual(groups.split(' ').sort(), [login, 'games', 'users'].sort())
    assert.match(home ?? '', /home$/)
    assert.deepEqual(exit, { kind: 'status', code: 3 })
  })
})
