// Users, invites, logins and lock-out, through the API of a whole control with a clock that moves only when told.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'

import { readPem } from '../../core/cert/pem.ts'
import { readCertificate } from '../../core/cert/x509.ts'
import { FakeClock } from '../../core/clock.ts'
import { errorCode } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import {
  fromBase32,
  newKey,
  newPerson,
  startTestControl,
  type TestControl,
  type TestPerson,
} from '../../test/fixtures/control.ts'
import type { LoginReply } from '../api/messages.ts'
import { totpCode } from './totp.ts'

const STEP_MS = 30_000
const clock = new FakeClock()
let control: TestControl

before(async () => {
  control = await startTestControl({ clock })
})
after(() => control.remove())

function code(secret: Uint8Array): string {
  return totpCode(secret, Math.floor(clock.now() / STEP_MS))
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise
    return 'done'
  } catch (error) {
    return errorCode(error) ?? String(error)
  }
}

function logIn(
  person: TestPerson,
  change: Readonly<Record<string, unknown>> = {},
): Promise<LoginReply> {
  const { user, password, secret } = person
  const { publicKey } = newKey()
  return control.client().call('login', { user, password, otp: code(secret), publicKey, ...change })
}

describe('local login', () => {
  it('answers every way of being wrong alike', async () => {
    const bob = await newPerson(control, 'bob', ['access'], {}, clock)
    clock.advance(2 * STEP_MS)
    const wrong = [
      { password: 'wrong password 12' },
      { otp: '000000' },
      { user: 'nobody' },
      { user: '../../etc' },
      { user: 'BOB\u0000' },
    ]
    for (const change of wrong) {
      await assert.rejects(logIn(bob, change), {
        code: 'login.failed',
        message: 'User name, password or one-time code is wrong.',
      })
    }
    assert.equal(await codeOf(logIn(bob)), 'done')
  })

  it('uses a code once, also when it comes twice at the same moment', async () => {
    const carol = await newPerson(control, 'carol', ['access'], {}, clock)
    clock.advance(2 * STEP_MS)
    const outcomes = await Promise.all([codeOf(logIn(carol)), codeOf(logIn(carol))])
    assert.deepEqual(outcomes.toSorted(), ['done', 'login.failed'])
    assert.equal(await codeOf(logIn(carol)), 'login.failed')
  })

  it('lets a name be written in any case', async () => {
    const dora = await newPerson(control, 'Dora', ['access'], {}, clock)
    clock.advance(2 * STEP_MS)
    const reply = await logIn(dora, { user: 'dORA' })
    assert.equal(reply.cluster, 'sluice.test')
    assert.equal(
      await codeOf(control.admin.call('user-create', { name: 'dora', roles: [], traits: {} })),
      'resource.conflict',
    )
  })

  it('makes one source wait after five failures, audits each, and lets it in when the time is over', async () => {
    const erin = await newPerson(control, 'erin', ['access'], {}, clock)
    clock.advance(2 * STEP_MS)
    for (let i = 0; i < max('loginFailuresMax'); i++)
      assert.equal(await codeOf(logIn(erin, { otp: '000000' })), 'login.failed')
    assert.equal(await codeOf(logIn(erin)), 'limit.exceeded')
    const { items } = await control.admin.call('audit-list', { types: 'user.login' })
    const failed = items.filter((item) => item['user'] === 'erin' && item['code'] === 'T1000W')
    assert.equal(failed.length, max('loginFailuresMax') + 1)
    clock.advance(max('loginFailureWindowMs'))
    assert.equal(await codeOf(logIn(erin)), 'done')
  })

  it('lets no more guesses through that come all at once than one by one', async () => {
    const gus = await newPerson(control, 'gus', ['access'], {}, clock)
    clock.advance(2 * STEP_MS)
    const client = control.client()
    const { publicKey } = newKey()
    const guess = (at: number): Promise<string> => {
      const otp = String(100_000 + at)
      return codeOf(
        client.call('login', { user: gus.user, password: gus.password, otp, publicKey }),
      )
    }
    const outcomes = await Promise.all(Array.from({ length: 25 }, (_, at) => guess(at)))
    const tried = outcomes.filter((outcome) => outcome === 'login.failed')
    assert.equal(tried.length, max('loginFailuresMax'))
    assert.equal(outcomes.filter((outcome) => outcome === 'limit.exceeded').length, 20)
  })

  it('tells of a lock only to whoever proved who they are', async () => {
    const finn = await newPerson(control, 'finn', ['access'], {}, clock)
    clock.advance(2 * STEP_MS)
    const document = {
      kind: 'lock',
      version: 'v2',
      metadata: { name: 'finn' },
      spec: { target: { user: 'FINN' }, message: 'on holiday' },
    }
    await control.admin.call('resource-create', { kind: 'lock', document })
    assert.equal(await codeOf(logIn(finn, { password: 'wrong password 12' })), 'login.failed')
    clock.advance(STEP_MS)
    await assert.rejects(logIn(finn), { code: 'login.locked', message: /on holiday/ })
  })

  it('cuts the certificate to the shortest max_session_ttl of the roles', async () => {
    const role = (name: string, ttl: string): object => ({
      kind: 'role',
      version: 'v7',
      metadata: { name },
      spec: { options: { max_session_ttl: ttl } },
    })
    await control.admin.call('resource-create', {
      kind: 'role',
      document: role('long', '20h') as never,
    })
    await control.admin.call('resource-create', {
      kind: 'role',
      document: role('short', '1h') as never,
    })
    const gina = await newPerson(control, 'gina', ['long', 'short'], {}, clock)
    clock.advance(2 * STEP_MS)
    const reply = await logIn(gina, { ttlMs: 10 * 3_600_000 })
    assert.ok(Math.abs(reply.expiresAtMs - clock.now() - 3_600_000) < 2000)
  })

  it('certifies roles, traits and the second factor, and nothing of the subject is an identity', async () => {
    const hugo = await newPerson(control, 'hugo', ['access'], { db_users: ['app'] }, clock)
    const [der = new Uint8Array()] = readPem('CERTIFICATE', hugo.certificate)
    const { extensions } = readCertificate(der)
    const text = Buffer.from(extensions.identity ?? []).toString('utf8')
    for (const part of [
      '"name":"hugo"',
      '"roles":["access"]',
      '"db_users":["app"]',
      '"mfaAtMs"',
      '"issuer":"local"',
    ])
      assert.ok(text.includes(part), part)
  })
})

describe('invites and resets', () => {
  it('work once, need a good password and the code of the shown secret', async () => {
    const { invite } = await control.admin.call('user-create', {
      name: 'iris',
      roles: ['access'],
      traits: {},
    })
    assert.match(invite.url, /\/web\/invite\/[0-9a-f]{32}$/)
    const client = control.client()
    const { token } = invite
    const secret = fromBase32((await client.call('invite-read', { token })).otpSecret)
    const complete = (password: string, otp: string): Promise<string> =>
      codeOf(client.call('invite-complete', { token, password, otp }))
    assert.equal(await complete('too short', code(secret)), 'resource.invalid')
    assert.equal(await complete('long enough password', '000000'), 'login.failed')
    const twice = await Promise.all(
      [1, 2].map(() => complete('long enough password', code(secret))),
    )
    assert.deepEqual(twice.toSorted(), ['done', 'resource.not-found'])
    assert.equal(await codeOf(client.call('invite-read', { token })), 'resource.not-found')
  })

  it('end with their time', async () => {
    const { invite } = await control.admin.call('user-create', {
      name: 'jan',
      roles: [],
      traits: {},
      ttlMs: 60_000,
    })
    clock.advance(61_000)
    assert.equal(
      await codeOf(control.client().call('invite-read', { token: invite.token })),
      'resource.not-found',
    )
  })

  it('a reset ends password, codes and every certificate of the user at once', async () => {
    const kim = await newPerson(control, 'kim', ['access'], {}, clock)
    assert.equal((await kim.client.call('me', {})).user, 'kim')
    const { invite } = await control.admin.call('user-reset', { name: 'kim' })
    assert.equal(await codeOf(kim.client.call('me', {})), 'cert.identity')
    clock.advance(2 * STEP_MS)
    assert.equal(await codeOf(logIn(kim)), 'login.failed')
    // A second reset voids the link of the first.
    await control.admin.call('user-reset', { name: 'kim' })
    const client = control.client()
    const { otpSecret } = await client.call('invite-read', { token: invite.token })
    const answer = {
      token: invite.token,
      password: 'long enough password',
      otp: code(fromBase32(otpSecret)),
    }
    assert.equal(await codeOf(client.call('invite-complete', answer)), 'resource.not-found')
  })

  it('a deleted user’s certificates end, also when the name comes back', async () => {
    const leo = await newPerson(control, 'leo', ['access'], {}, clock)
    await control.admin.call('resource-delete', { kind: 'user', name: 'leo' })
    assert.equal(await codeOf(leo.client.call('me', {})), 'cert.identity')
    const again = await newPerson(control, 'leo', ['access'], {}, clock)
    assert.equal(await codeOf(leo.client.call('me', {})), 'cert.identity')
    assert.equal((await again.client.call('me', {})).user, 'leo')
  })

  it('no user is made with a role that does not exist, and a role in use stays', async () => {
    assert.equal(
      await codeOf(
        control.admin.call('user-create', { name: 'max', roles: ['nothing'], traits: {} }),
      ),
      'resource.invalid',
    )
    assert.equal(
      await codeOf(control.admin.call('resource-delete', { kind: 'role', name: 'access' })),
      'resource.conflict',
    )
  })
})
