// The SSH host key of a process: made once, kept privately, certified when control serves the host, and again when that changes.

import assert from 'node:assert/strict'
import { createPublicKey } from 'node:crypto'
import { statSync } from 'node:fs'
import path from 'node:path'
import { it, type TestContext } from 'node:test'

import { readSshCertificate } from '../../core/cert/ssh.ts'
import { FakeClock } from '../../core/clock.ts'
import { max } from '../../core/limits.ts'
import { silentLogger } from '../../core/log.ts'
import { readPublicBlob } from '../../core/ssh/key.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { sshCertificateOf, sshTestCa, type SshTestCa } from '../../test/fixtures/ssh.ts'
import { FakeTimers } from '../../workers/timers.ts'
import type { SshHostKeys } from '../../workers/trust.ts'
import { SshHost } from './ssh-host.ts'

const DAY_MS = 86_400_000

interface Rig {
  readonly timers: FakeTimers
  readonly folder: string
  readonly asked: string[]
  readonly shown: SshHostKeys[]
  ca: SshTestCa
  away: boolean
  open(): SshHost
}

async function rig(context: TestContext): Promise<Rig> {
  const timers = new FakeTimers(new FakeClock(Date.now()))
  const { clock } = timers
  const made: Rig = {
    timers,
    folder: await temporaryFolder(context),
    asked: [],
    shown: [],
    ca: sshTestCa(),
    away: false,
    open: () =>
      new SshHost({
        folder: made.folder,
        clock,
        timers,
        log: silentLogger,
        certify(publicKey) {
          made.asked.push(publicKey)
          if (made.away) return Promise.reject(new Error('control is away'))
          const seconds = BigInt(Math.floor(clock.now() / 1000))
          const certificate = sshCertificateOf(made.ca, Buffer.from(publicKey, 'base64'), {
            kind: 'host',
            principals: ['web-1'],
            validAfter: seconds,
            validBefore: seconds + BigInt((7 * DAY_MS) / 1000),
          })
          return Promise.resolve({ certificate: Buffer.from(certificate).toString('base64') })
        },
        onKeys: (keys) => made.shown.push(keys),
      }),
  }
  return made
}

async function turn(timers: FakeTimers, ms = 0): Promise<void> {
  timers.advance(ms)
  for (let count = 0; count < 5; count++) await new Promise((resolve) => setImmediate(resolve))
}

it('a key is made once, is private, and has no certificate before control serves the host', async (context) => {
  const made = await rig(context)
  const { folder, timers, asked } = made
  const host = made.open()
  await turn(timers, DAY_MS)
  assert.deepEqual([host.keys, asked.length], [undefined, 0])
  assert.equal(statSync(path.join(folder, 'ssh-host.json')).mode & 0o777, 0o600)
  host.serves('web-1')
  await turn(timers)
  made.open().serves('web-2')
  await turn(timers)
  assert.equal(asked.length, 2)
  assert.equal(asked[0], asked[1], 'the key of the folder')
})

it('is certified when the host is served, and shown again after a restart without asking', async (context) => {
  const made = await rig(context)
  const host = made.open()
  host.serves('web-1')
  await turn(made.timers)
  const [keys] = made.shown
  assert.ok(keys)
  assert.deepEqual(host.keys, keys)
  const { key } = readSshCertificate(keys.certificate)
  const spki = (from: ReturnType<typeof readPublicBlob>): Buffer =>
    from.export({ type: 'spki', format: 'der' })
  assert.deepEqual(spki(readPublicBlob(key)), spki(createPublicKey(keys.key)))
  const again = made.open()
  assert.deepEqual(again.keys?.key, keys.key)
  again.serves('web-1')
  await turn(made.timers)
  assert.equal(made.asked.length, 1)
})

it('is certified again for other names, by another CA, and after a third of its life', async (context) => {
  const made = await rig(context)
  const host = made.open()
  host.serves('web-1')
  await turn(made.timers)
  host.serves('web-1 web-2')
  await turn(made.timers)
  assert.equal(made.asked.length, 2)
  host.trusts([made.ca.blob])
  await turn(made.timers, DAY_MS)
  assert.equal(made.asked.length, 2)
  made.ca = sshTestCa()
  host.trusts([made.ca.blob, sshTestCa().blob])
  await turn(made.timers)
  assert.equal(made.asked.length, 3)
  assert.deepEqual(
    Buffer.from(readSshCertificate(host.keys?.certificate ?? Buffer.alloc(0)).caKey),
    Buffer.from(made.ca.blob),
  )
  await turn(made.timers, 2 * DAY_MS)
  assert.equal(made.asked.length, 3)
  await turn(made.timers, DAY_MS)
  assert.equal(made.asked.length, 4)
})

it('is asked for until control answers, and a certificate that is over is not shown', async (context) => {
  const made = await rig(context)
  const host = made.open()
  host.serves('web-1')
  await turn(made.timers)
  made.away = true
  await turn(made.timers, 8 * DAY_MS)
  assert.equal(host.keys, undefined)
  const before = made.asked.length
  made.away = false
  await turn(made.timers, max('renewalRetryMs'))
  assert.equal(made.asked.length, before + 1)
  assert.ok(host.keys)
  host.close()
  assert.equal(made.timers.size, 0)
})
