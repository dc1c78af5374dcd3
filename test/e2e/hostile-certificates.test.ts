// Certificates that must open nothing, at the three doors behind the public port (a relayed session, an agent's link, control), each
// on a full handshake and with the TLS ticket that handshake gave. The CA keys are stolen from the cluster's folder, so that every
// forgery but the last detail is genuine.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { before, describe, it } from 'node:test'

import { buildCsr } from '../../core/cert/csr.ts'
import { generateKey } from '../../core/cert/key.ts'
import { readPem, writePem } from '../../core/cert/pem.ts'
import { type Expectation, verifyPeer } from '../../core/cert/verify.ts'
import type { SystemIdentity, UserIdentity } from '../../core/identity.ts'
import {
  type Cluster,
  type DatabaseAccess,
  startCluster,
  type TestUser,
} from '../fixtures/cluster.ts'
import { systemIdentity } from '../fixtures/certificates.ts'
import { suiteCleanup } from '../fixtures/files.ts'
import {
  type Forge,
  forged,
  identityOf,
  openForge,
  type Wrong,
  wrongMachines,
  wrongUsers,
} from '../fixtures/forge.ts'
import { type Answer, knockControl, knockLink, knockRelay } from '../fixtures/knock.ts'
import type { PemPair } from '../fixtures/tls.ts'

const NAME = 'test.cluster'

interface Member extends PemPair {
  readonly identity: SystemIdentity
}

type Door = (shown: PemPair | undefined, session?: Buffer) => Promise<Answer>

describe('Certificates that must open nothing', () => {
  const cleanup = suiteCleanup()
  let cluster: Cluster
  let forge: Forge
  let user: TestUser
  let access: DatabaseAccess
  let person: UserIdentity
  let member: Member
  let port = 0

  before(async () => {
    cluster = await startCluster(cleanup, { databases: { orders: { version: 15 } } })
    forge = openForge(join(cluster.folder, 'data/signer'), NAME)
    port = Number(cluster.proxy.split(':')[1])
    user = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    access = await user.database('orders')
    const found = identityOf(access.reply.certificate)
    assert.equal(found.type, 'user')
    person = found
    member = await joined()
  })

  /** A machine of the cluster that runs nowhere. */
  async function joined(): Promise<Member> {
    const { token } = await cluster.admin.call('token-create', { roles: ['db'] })
    const { privateKey, signer } = generateKey('ecdsa-p256')
    const { certificate } = await cluster.anonymous().call('join', {
      token,
      csr: writePem('CERTIFICATE REQUEST', buildCsr('test', signer)),
      hostname: 'bystander',
      role: 'agent',
      services: ['db'],
    })
    const identity = identityOf(certificate)
    assert.equal(identity.type, 'system')
    const key = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString()
    return { identity, certificate, key }
  }

  const routed = (): PemPair => ({ certificate: access.reply.certificate, key: access.key })
  const login = (): PemPair => ({
    certificate: user.login.reply.certificate,
    key: user.login.pair.key,
  })

  const relay: Door = (shown, session) =>
    knockRelay(cleanup, { port, shown, session, serverName: access.reply.serverName })
  const link: Door = (shown, session) =>
    knockLink(cleanup, { port, shown, session, agentId: member.identity.id })
  const control =
    (line: string, body = ''): Door =>
    (shown, session) =>
      knockControl(cleanup, { port, shown, session, line, body })
  const asPerson = control('GET /v1/me')
  const asMachine = control('PUT /v1/inventory', '{"targets":[]}')

  /** Each certificate at a door, then the ticket it won alone, then that ticket beside the certificate. */
  async function refused(
    door: Door,
    wrongs: readonly Wrong[],
    check: (answer: Answer, wrong: Wrong, how: string) => void,
  ): Promise<void> {
    let resumed = 0
    for (const wrong of wrongs) {
      const first = await door(wrong.shown)
      check(first, wrong, `${wrong.what}, full handshake`)
      assert.equal(first.resumed, false)
      if (first.session === undefined) continue
      for (const shown of [undefined, wrong.shown]) {
        const again = await door(shown, first.session)
        if (again.resumed) resumed++
        // Without resumption and certificate there is nobody.
        const nobody = !again.resumed && shown === undefined
        check(again, nobody ? NOBODY : wrong, `${wrong.what}, with its ticket`)
      }
    }
    assert.ok(resumed >= wrongs.length, `only ${resumed} tickets were taken: too few to prove it`)
  }

  function inPostgres({ verdict, text }: Answer, wrong: Wrong, how: string): void {
    assert.equal(verdict, '28000', `${how}: ${text}`)
    assert.match(text, /^FATAL: .*Sluice.*decision [0-9A-HJKMNP-TV-Z]{26}/, how)
    if (wrong.code === 'cert.expired') assert.match(text, /expired|valid from/, how)
  }

  /** Every known one of them was audited at this door, under its own name and with its own reason. */
  async function audited(
    event: string,
    wrongs: readonly Wrong[],
    want: Omit<Expectation, 'cluster'>,
    matches: (event: Readonly<Record<string, unknown>>) => boolean,
  ): Promise<void> {
    for (const { what, shown, known } of wrongs) {
      const chain = shown === undefined ? [] : readPem('CERTIFICATE', shown.certificate)
      const verdict = verifyPeer(chain, { cluster: NAME, ...want }, Date.now())
      assert.ok(!verdict.ok, what)
      assert.equal(verdict.identity !== undefined, known, what)
      if (!known) continue
      // An expiry names the time of the refusal too.
      const reason = verdict.reason.replace(/; here it is.*/, '')
      await cluster.event(
        event,
        (each) =>
          JSON.stringify(each).includes(JSON.stringify(reason).slice(1, -1)) && matches(each),
      )
    }
  }

  it('the genuine ones are let in, on full handshakes and with their tickets', async () => {
    for (const [door, shown] of [
      [relay, routed()],
      [link, member],
      [asPerson, login()],
      [asMachine, member],
    ] as const) {
      const first = await door(shown)
      assert.equal(first.verdict, 'in', first.text)
      const again = await door(undefined, first.session)
      assert.deepEqual([again.resumed, again.verdict], [true, 'in'], again.text)
    }
  })

  it('relay: every wrong kind of person is refused in PostgreSQL’s words, and audited', async () => {
    const wrongs = wrongUsers(forge, person)
    await refused(relay, wrongs, inPostgres)
    const want = { cas: [forge.cas.user.der], purpose: 'client', type: 'user' } as const
    const machine = systemIdentity('proxy').id
    await audited(
      'auth',
      wrongs,
      want,
      (event) => event['user'] === person.name || event['host_id'] === machine,
    )
  })

  it('link: every wrong kind of machine is refused with its reason, and audited', async () => {
    const wrongs = [
      ...wrongMachines(forge, member.identity, ['proxy', 'control']),
      ...peopleAsMachines(forge, person),
    ]
    await refused(link, wrongs, ({ verdict, text }, wrong, how) =>
      assert.equal(verdict, wrong.code, `${how}: ${text}`),
    )
    const want = { cas: [forge.cas.host.der], purpose: 'client', type: 'system' } as const
    const machines = wrongs.filter(({ what }) => !what.startsWith('a person'))
    await audited(
      'link.refused',
      machines,
      { ...want, role: 'agent' },
      (event) => event['agent_id'] === member.identity.id,
    )
  })

  it('control: every wrong kind of person or machine is a stranger, and audited when it is known', async () => {
    const { route: _, ...who } = person
    const check = ({ verdict, text }: Answer, wrong: Wrong, how: string): void =>
      assert.match(verdict, wrong.shown === undefined ? /^policy.denied$/ : /^cert\./, how + text)
    const people = wrongUsers(forge, who).filter(({ what }) => what !== 'a proxy of the host CA')
    const machines = wrongMachines(forge, member.identity, [])
    await refused(asPerson, people, check)
    await refused(asMachine, machines, check)
    for (const identity of [{ user: who.name }, { host_id: member.identity.id }])
      await cluster.event('auth', (event) =>
        Object.entries({ ...identity, error: 'cert.expired' }).every(
          ([field, value]) => event[field] === value,
        ),
      )
  })

  it('a person called like a system role, with system roles for roles, is a person and no more', async () => {
    const name = 'proxy'
    const roles = ['proxy', 'control', 'Proxy', 'agent', 'system', 'O=Proxy']
    const boaster = forged(forge.cas.user, { ...person, name, roles })
    const { verdict, text } = await relay(boaster)
    assert.match(verdict, /^(28000|42501)$/, text)
    await cluster.event('db.session.start', (event) => event['user'] === name && !event['success'])
    assert.equal((await link(boaster)).verdict, 'cert.chain')
    const { route: _, ...who } = person
    const unrouted = forged(forge.cas.user, { ...who, name, roles })
    assert.equal((await asPerson(unrouted)).verdict, 'in')
    for (const line of ['GET /v1/ticket-keys', 'GET /v1/watch?class=proxy', 'GET /v1/status'])
      assert.equal((await control(line)(unrouted)).verdict, 'policy.denied', line)
    assert.equal((await asMachine(unrouted)).verdict, 'policy.denied')
  })

  it('a certificate routed to another database opens this one at neither relay nor control', async () => {
    const route = { kind: 'db', name: 'payments', protocol: 'postgres' } as const
    const other = forged(forge.cas.user, { ...person, route })
    const { verdict, text } = await relay(other)
    assert.match(verdict, /^(28000|42501)$/, text)
    assert.notEqual((await asPerson(other)).verdict, 'in')
  })

  it('a ticket won while the certificate was good does not outlive it', async () => {
    const notAfterMs = Date.now() + 4000
    const { route: _, ...who } = person
    const brief: readonly (readonly [string, Door, PemPair])[] = [
      ['28000', relay, forged(forge.cas.user, person, { notAfterMs })],
      ['cert.expired', link, forged(forge.cas.host, member.identity, { notAfterMs })],
      ['cert.expired', asPerson, forged(forge.cas.user, who, { notAfterMs })],
      ['cert.expired', asMachine, forged(forge.cas.host, member.identity, { notAfterMs })],
    ]
    const won: (Buffer | undefined)[] = []
    for (const [, door, shown] of brief) {
      const first = await door(shown)
      assert.equal(first.verdict, 'in', first.text)
      won.push(first.session)
    }
    await pastSecond(notAfterMs)
    for (const [at, [expected, door]] of brief.entries()) {
      const again = await door(undefined, won[at])
      assert.deepEqual([again.resumed, again.verdict], [true, expected], again.text)
      assert.match(again.text, /expired/)
    }
  })

  it('a ticket of one door means nothing at another', async () => {
    const doors: readonly (readonly [Door, PemPair])[] = [
      [relay, routed()],
      [link, member],
      [asPerson, login()],
      [asMachine, member],
    ]
    for (const [from, [door, shown]] of doors.entries()) {
      const { session, verdict } = await door(shown)
      assert.equal(verdict, 'in')
      for (const [to, [other]] of doors.entries()) {
        // The last two are one door.
        if (Math.min(from, 2) === Math.min(to, 2)) continue
        const stranger = await other(undefined, session)
        assert.equal(stranger.resumed, false, `${from} to ${to}`)
        assert.match(stranger.verdict, /^(28000|cert.chain|policy.denied)$/, `${from} to ${to}`)
      }
    }
  })

  it('a ticket won before a lock opens nothing after it', async () => {
    const locked = await cluster.user(['access'], { db_users: ['app'], db_names: ['*'] })
    const { reply, key } = await locked.database('orders')
    const { serverName } = reply
    const other = await joined()
    const doors: readonly (readonly [Door, PemPair])[] = [
      [
        (shown, session) => knockRelay(cleanup, { port, shown, session, serverName }),
        { certificate: reply.certificate, key },
      ],
      [asPerson, { certificate: locked.login.reply.certificate, key: locked.login.pair.key }],
      [
        (shown, session) =>
          knockLink(cleanup, { port, shown, session, agentId: other.identity.id }),
        other,
      ],
      [asMachine, other],
    ]
    const won: (Buffer | undefined)[] = []
    for (const [door, shown] of doors) {
      const first = await door(shown)
      assert.equal(first.verdict, 'in', first.text)
      won.push(first.session)
    }
    await lock('gone', { user: locked.person.user })
    await lock('lost', { server_id: other.identity.id })
    for (const [at, [door, shown]] of doors.entries()) {
      await settled(async () => (await door(shown, won[at])).verdict !== 'in')
      for (const again of [await door(undefined, won[at]), await door(shown, won[at])])
        assert.match(again.verdict, /^(28000|42501|login.locked|cert.chain|policy.denied)$/)
    }
  })

  async function lock(name: string, target: Readonly<Record<string, string>>): Promise<void> {
    const document = { kind: 'lock', version: 'v2', metadata: { name }, spec: { target } }
    await cluster.admin.call('resource-create', { kind: 'lock', document })
  }
})

const NOBODY: Wrong = { what: 'nobody', code: 'cert.chain', known: false, shown: undefined }

/** A person on a link, also one with a system role for a name and in every field. */
function peopleAsMachines(forge: Forge, person: UserIdentity): readonly Wrong[] {
  const roles = ['agent', 'proxy', 'control', 'Proxy', 'system']
  const boast = { ...person, name: 'agent', roles }
  const { user, host } = forge.cas
  return [
    { ...NOBODY, what: 'a person', shown: forged(user, person) },
    { ...NOBODY, what: 'a person called agent', shown: forged(user, boast) },
    {
      what: 'a person called agent, from the host CA',
      code: 'cert.purpose',
      known: true,
      shown: forged(host, boast),
    },
  ]
}

/** Certificates end with a whole second. */
async function pastSecond(notAfterMs: number): Promise<void> {
  await settled(async () => Date.now() > notAfterMs + 1000)
}

async function settled(holds: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + 15_000
  while (!(await holds())) {
    assert.ok(performance.now() < endMs, 'it did not come about')
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
