// What a stop and a new start leave as they were, and what they refuse.

import assert from 'node:assert/strict'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { decodeSnapshot } from '../core/snapshot-codec.ts'
import {
  newKey,
  newMember,
  newPerson,
  startTestControl,
  type TestControl,
} from '../test/fixtures/control.ts'
import { totpCode } from './login/totp.ts'

describe('a control that starts again', () => {
  const clock = new FakeClock()
  let first: TestControl
  before(async () => {
    first = await startTestControl({ clock })
  })
  after(() => first.remove())

  async function revisionOf(control: TestControl): Promise<number> {
    const agent = await newMember(control, 'agent')
    for await (const item of agent.client.stream('watch', { class: 'agent' }))
      if (item.type === 'snapshot') return decodeSnapshot(Buffer.from(item.body, 'base64')).revision
    return 0
  }

  it('is the same cluster: certificates, users, tickets, log and revisions go on', async () => {
    const agent = await newMember(first, 'agent')
    const proxy = await newMember(first, 'proxy')
    const alice = await newPerson(first, 'alice', ['access'], {}, clock)
    const before = {
      pins: first.handle.pins,
      keys: await proxy.client.call('ticket-keys', {}),
      revision: await revisionOf(first),
      records: (await first.admin.call('status', {})).audit.count,
    }
    await first.stop()
    const again = await startTestControl({ clock, folder: first.folder })
    assert.deepEqual(again.handle.pins, before.pins)
    const trust = { pins: before.pins }
    assert.deepEqual(await again.client(proxy, trust).call('ticket-keys', {}), before.keys)
    assert.equal(
      (await again.client(agent, trust).call('inventory', { targets: [] })).refused.length,
      0,
    )
    clock.advance(60_000)
    const otp = totpCode(alice.secret, Math.floor(clock.now() / 30_000))
    const { user, password } = alice
    await again.client().call('login', { user, password, otp, publicKey: newKey().publicKey })
    assert.ok((await revisionOf(again)) >= before.revision)
    const verified = await again.admin.call('audit-verify', {})
    assert.ok(verified.ok && verified.records > before.records, verified.problem ?? 'fewer records')
    await again.stop()
    first = await startTestControl({ clock, folder: first.folder })
  })

  it('leaves nothing in its folder that others may read, and no secret in clear beside the key', async () => {
    const alice = await newPerson(first, 'bob', ['access'], {}, clock)
    const folder = path.join(first.folder, 'control')
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) =>
      entry.isFile(),
    )
    assert.ok(files.length >= 3)
    for (const entry of files) {
      const file = path.join(entry.parentPath, entry.name)
      // Files of the database keep the mode of the umask; their folder is closed.
      if (!entry.name.startsWith('state.sqlite')) assert.equal(statSync(file).mode & 0o077, 0, file)
      const bytes = readFileSync(file)
      for (const secret of [
        alice.secret.toString('latin1'),
        alice.secret.toString('base64'),
        alice.password,
      ])
        assert.ok(!bytes.includes(secret), `${file} holds a secret`)
    }
    assert.equal(statSync(folder).mode & 0o077, 0)
  })

  it('refuses a folder of another cluster', async () => {
    await first.stop()
    const yaml = 'sluice: { insecure_keys: true }\n'
    await assert.rejects(
      startTestControl({ clock, folder: first.folder, yaml, cluster: 'other.test' }),
      { code: 'config.invalid' },
    )
    first = await startTestControl({ clock, folder: first.folder })
  })

  it('takes settings and static tokens of a changed file without a restart', async () => {
    const member = newMember(first, 'agent', { token: 'another-static-secret' })
    await assert.rejects(member, { code: 'policy.denied' })
    await first.reload(
      'sluice: { insecure_keys: true }\nauth_service: { tokens: ["db:another-static-secret"] }\n',
    )
    await newMember(first, 'agent', { token: 'another-static-secret' })
  })
})
