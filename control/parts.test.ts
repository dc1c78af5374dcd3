// The small parts of control by themselves: envelope, ticket keys, leases, failed logins, watchers, coalescing.

import assert from 'node:assert/strict'
import { chmodSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import os from 'node:os'
import path from 'node:path'
import { after, before, describe, it } from 'node:test'

import { FakeClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import { checkTicket } from '../core/tunnel/ticket.ts'
import type { Base } from './base.ts'
import { Coalescer } from './coalescer.ts'
import { envelopeOf, openEnvelope } from './envelope.ts'
import { Leases } from './leases.ts'
import { LoginAttempts } from './login/attempts.ts'
import type { SignerApi } from './signer/api.ts'
import type { Store } from './store/contract.ts'
import { openSqliteStore } from './store/sqlite.ts'
import { TicketKeys } from './ticket-keys.ts'
import { publish, Watcher } from './watchers.ts'

const HOUR_MS = 3_600_000
let folder: string
before(() => {
  folder = mkdtempSync(path.join(os.tmpdir(), 'sluice-parts-'))
})
after(() => rmSync(folder, { recursive: true }))

describe('the envelope', () => {
  it('opens what it sealed, under the same context and key alone', async () => {
    const file = path.join(folder, 'a.key')
    const envelope = await openEnvelope({ file, passphrase: undefined })
    const sealed = envelope.seal(Buffer.from('secret'), 'totp:alice')
    const again = await openEnvelope({ file, passphrase: undefined })
    assert.deepEqual(Buffer.from(again.open(sealed, 'totp:alice')).toString(), 'secret')
    assert.throws(() => again.open(sealed, 'totp:bob'), { code: 'store.unavailable' })
    assert.throws(() => again.open(`${sealed.slice(0, -4)}AAAA`, 'totp:alice'), {
      code: 'store.unavailable',
    })
    assert.throws(() => envelopeOf(Buffer.alloc(32)).open(sealed, 'totp:alice'), {
      code: 'store.unavailable',
    })
  })

  it('wraps its key under a passphrase: the file alone opens nothing', async () => {
    const file = path.join(folder, 'b.key')
    const sealed = (await openEnvelope({ file, passphrase: Buffer.from('one') })).seal(
      Buffer.from('x'),
      'c',
    )
    assert.ok(!('key' in (JSON.parse(readFileSync(file, 'utf8')) as object)))
    await assert.rejects(openEnvelope({ file, passphrase: Buffer.from('two') }), {
      code: 'config.invalid',
    })
    await assert.rejects(openEnvelope({ file, passphrase: undefined }), { code: 'config.invalid' })
    const right = await openEnvelope({ file, passphrase: Buffer.from('one') })
    assert.equal(Buffer.from(right.open(sealed, 'c')).toString(), 'x')
  })

  it('refuses a key file that others may read', async () => {
    const file = path.join(folder, 'c.key')
    await openEnvelope({ file, passphrase: undefined })
    chmodSync(file, 0o640)
    await assert.rejects(openEnvelope({ file, passphrase: undefined }), { code: 'config.invalid' })
  })
})

describe('ticket keys', () => {
  const clock = new FakeClock()
  let store: Store
  let base: Base
  before(async () => {
    store = await openSqliteStore({ file: path.join(folder, 'keys.sqlite'), clock })
    // Only the store, the envelope and the clock are used here.
    const signer = {} as SignerApi
    const secrets = envelopeOf(Buffer.alloc(32, 7))
    base = { cluster: 'c', store, signer, secrets, clock, log: silentLogger, audit: async () => {} }
  })
  after(() => store.close())

  it('change no faster than the longest certificate, and a ticket lives as long as its certificate', async () => {
    const control = new TicketKeys(base)
    await control.refresh()
    const rest = 'a.db.c'
    const minted: { ticket: string; expiresAtMs: number }[] = []
    for (let hour = 0; hour < 24 * 8; hour++) {
      clock.advance(HOUR_MS)
      await control.refresh()
      const expiresAtMs = clock.now() + max('userCertTtlMaxMs')
      minted.push({
        expiresAtMs,
        ticket: control.mint({ issuer: 'local', user: 'u', rest, expiresAtMs }),
      })
      assert.ok(control.keys.length <= 2)
      for (const { ticket, expiresAtMs: endsAtMs } of minted)
        if (endsAtMs > clock.now())
          assert.equal(
            checkTicket(control.keys, ticket, rest, clock.now()).verdict,
            'good',
            `hour ${hour}`,
          )
    }
    assert.ok(new Set(control.keys.map((key) => key.id)).size === control.keys.length)
  })

  it('are the same for two that look at one store, and never there in clear', async () => {
    const [one, two] = [new TicketKeys(base), new TicketKeys(base)]
    await Promise.all([one.refresh(), two.refresh()])
    assert.deepEqual(one.keys, two.keys)
    const { items } = await store.range({ prefix: '' })
    for (const { key } of one.keys)
      assert.ok(!items.some((item) => item.value.includes(Buffer.from(key).toString('base64'))))
  })

  it('are used only when proxies had time to fetch them', async () => {
    const control = new TicketKeys(base)
    await control.refresh()
    const mint = (): string => {
      const expiresAtMs = clock.now() + HOUR_MS
      return control.mint({ issuer: 'l', user: 'u', rest: 'r', expiresAtMs })
    }
    const known = [...control.keys]
    while (control.keys.at(-1)?.id === known.at(-1)?.id) {
      clock.advance(60_000)
      await control.refresh()
    }
    assert.equal(checkTicket(known, mint(), 'r', clock.now()).verdict, 'good')
    clock.advance(max('ticketKeySettleMs'))
    assert.equal(checkTicket(known, mint(), 'r', clock.now()).verdict, 'bad')
  })
})

describe('leases', () => {
  it('end when nobody keeps them, and leave nothing behind', () => {
    const clock = new FakeClock()
    const leases = new Leases(clock)
    const wish = { owner: 'a', issuer: 'local', user: 'u', max: 2 }
    const [kept] = [leases.take(wish), leases.take(wish)]
    assert.throws(() => leases.take(wish), { code: 'limit.exceeded' })
    clock.advance(max('leaseTtlMs') / 2)
    leases.keep(kept, 'a')
    clock.advance(max('leaseTtlMs') / 2)
    leases.take(wish)
    assert.throws(() => leases.take(wish), { code: 'limit.exceeded' })
    clock.advance(max('leaseTtlMs'))
    leases.sweep()
    assert.equal(leases.size, 0)
    assert.throws(() => leases.keep(kept, 'a'), { code: 'resource.not-found' })
  })
})

describe('failed logins', () => {
  const direct = (address: string): Parameters<LoginAttempts['begin']>[1] => ({
    address,
    connection: 'c',
    relayed: false,
  })
  const relayed = (connection: string): Parameters<LoginAttempts['begin']>[1] => ({
    address: 'proxy',
    connection,
    relayed: true,
  })

  it('lock out one source, not the person', () => {
    const attempts = new LoginAttempts(new FakeClock())
    for (let i = 0; i < max('loginFailuresMax'); i++) attempts.begin('alice', direct('10.0.0.1'))
    assert.ok(attempts.waitMs('alice', direct('10.0.0.1')) > 0)
    assert.equal(attempts.waitMs('alice', direct('10.0.0.2')), 0)
    assert.equal(attempts.waitMs('bob', direct('10.0.0.1')), 0)
  })

  it('count by connection behind a proxy, and by account when connections change', () => {
    const attempts = new LoginAttempts(new FakeClock())
    for (let i = 0; i < max('loginFailuresMax'); i++) attempts.begin('alice', relayed('x'))
    assert.ok(attempts.waitMs('alice', relayed('x')) > 0)
    assert.equal(attempts.waitMs('alice', relayed('y')), 0)
    for (let i = max('loginFailuresMax'); i < max('loginFailuresAccountMax'); i++)
      attempts.begin('alice', relayed(String(i)))
    assert.ok(attempts.waitMs('alice', relayed('fresh')) > 0)
    attempts.forget('alice')
    assert.equal(attempts.waitMs('alice', relayed('fresh')), 0)
  })

  it('are forgotten when their time is over, and by a login from the same source', () => {
    const clock = new FakeClock()
    const attempts = new LoginAttempts(clock)
    for (let i = 0; i < max('loginFailuresMax'); i++) attempts.begin('alice', direct('a'))
    clock.advance(max('loginFailureWindowMs'))
    assert.equal(attempts.waitMs('alice', direct('a')), 0)
    for (let i = 1; i < max('loginFailuresMax'); i++) attempts.begin('alice', direct('a'))
    attempts.succeeded('alice', direct('a'))
    attempts.begin('alice', direct('a'))
    assert.equal(attempts.waitMs('alice', direct('a')), 0)
  })
})

describe('watchers', () => {
  const item = (type: 'locks' | 'beacon' | 'snapshot', body: string): ReturnType<typeof publish> =>
    publish({ type, body, signature: 'AA==' })

  it('keep one beacon, the newest, and the order of everything else', async () => {
    const watcher = new Watcher('proxy')
    const { signal } = new AbortController()
    for (const message of [
      item('beacon', '1'),
      item('beacon', '2'),
      item('locks', 'l'),
      item('beacon', '3'),
      item('beacon', '4'),
    ])
      watcher.push(message)
    const bodies = [
      await watcher.next(signal),
      await watcher.next(signal),
      await watcher.next(signal),
    ]
    assert.deepEqual(
      bodies.map((each) => each?.body),
      ['2', 'l', '4'],
    )
  })

  it('are cut when they fall behind, after what they have', async () => {
    const watcher = new Watcher('proxy')
    const { signal } = new AbortController()
    const large = 'x'.repeat(max('watchQueueBytesMax') / 2)
    for (let i = 0; i < 4; i++) watcher.push(item('snapshot', large))
    assert.equal(watcher.cut, true)
    assert.ok(
      (await watcher.next(signal)) !== undefined && (await watcher.next(signal)) !== undefined,
    )
    assert.equal(await watcher.next(signal), undefined)
  })

  it('of agents never see what is for proxies', async () => {
    const watcher = new Watcher('agent')
    watcher.push(publish({ type: 'snapshot', body: 'p', signature: '' }, 'proxy'))
    watcher.push(publish({ type: 'snapshot', body: 'a', signature: '' }, 'agent'))
    assert.equal((await watcher.next(new AbortController().signal))?.body, 'a')
  })

  it('end at once when their signal is aborted', async () => {
    const watcher = new Watcher('agent')
    const abort = new AbortController()
    const next = watcher.next(abort.signal)
    abort.abort()
    assert.equal(await next, undefined)
  })
})

describe('the coalescer', () => {
  it('runs once more for any number of pokes meanwhile, never twice at once', async () => {
    let running = 0
    let runs = 0
    let release: () => void = () => {}
    const coalescer = new Coalescer(
      async () => {
        assert.equal(++running, 1)
        runs++
        await new Promise<void>((resolve) => (release = resolve))
        running--
      },
      0,
      () => {},
    )
    coalescer.poke()
    for (let i = 0; i < 5; i++) coalescer.poke()
    release()
    await new Promise((resolve) => setImmediate(resolve))
    release()
    await coalescer.idle()
    assert.equal(runs, 2)
    await coalescer.close()
  })
})
