// Records as bytes written out by the C library's header, and as the machine's own tools read them.

import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, it } from 'node:test'

import { temporaryFolder } from '../../test/fixtures/files.ts'
import { run } from '../../test/fixtures/processes.ts'
import { thisSystem } from './this-system.ts'
import {
  idOf,
  layoutOf,
  type LoginRecord,
  readRecord,
  TYPE,
  type UtmpLayout,
  writeRecord,
} from './utmp.ts'

const X64 = layoutFor('x64')
const ARM64 = layoutFor('arm64')

const RECORD: LoginRecord = {
  type: TYPE.user,
  line: 'pts/3',
  pid: 0x0102_0304,
  user: 'alice',
  host: '192.0.2.7',
  atMs: 1_700_000_000_123,
  mark: Buffer.alloc(20, 0xee),
}

function layoutFor(arch: string): UtmpLayout {
  const layout = layoutOf({ platform: 'linux', arch, glibc: '2.36' })
  assert.ok(layout !== undefined)
  return layout
}

/** Hexadecimal of text, with zeroes up to the size of its field. */
function field(text: string, bytes: number): string {
  return Buffer.from(text.padEnd(bytes, '\0')).toString('hex')
}

describe('a record of utmp', () => {
  const head = [
    '0700' + '0000', // ut_type, padding
    '04030201', // ut_pid
    field('pts/3', 32), // ut_line
    field('ts/3', 4), // ut_id
    field('alice', 32), // ut_user
    field('192.0.2.7', 256), // ut_host
    '00000000', // ut_exit
  ]
  const tail = ['c0000207' + '00'.repeat(12), 'ee'.repeat(20)] // ut_addr_v6, reserved

  it('on x86-64 is 384 bytes, with 32 bits of session and time', () => {
    const words = ['04030201', '00f15365', '78e00100'] // 123 ms are 0x1e078 us
    assert.equal(
      Buffer.from(writeRecord(RECORD, X64)).toString('hex'),
      [...head, ...words, ...tail].join(''),
    )
  })

  it('on aarch64 is 400 bytes, with 64', () => {
    const words = ['04030201', '00f15365', '78e00100'].map((word) => `${word}00000000`)
    // struct utmp is aligned to eight bytes.
    const all = [...head, ...words, ...tail, '00000000'].join('')
    assert.equal(Buffer.from(writeRecord(RECORD, ARM64)).toString('hex'), all)
  })

  it('is known on no other system', () => {
    const linux = { platform: 'linux', arch: 'x64', glibc: '2.36' }
    for (const other of [
      { ...linux, glibc: undefined },
      { ...linux, arch: 'riscv64' },
      { ...linux, arch: 'constructor' },
      { ...linux, platform: 'freebsd' },
    ])
      assert.equal(layoutOf(other), undefined)
    assert.deepEqual(layoutOf(thisSystem()), process.arch === 'x64' ? X64 : ARM64)
  })

  it('reads as it was written', () => {
    for (const layout of [X64, ARM64]) {
      const file = Buffer.concat([Buffer.alloc(layout.recordBytes), writeRecord(RECORD, layout)])
      const { type, line, pid, mark } = RECORD
      const read = readRecord(file, layout.recordBytes, layout)
      assert.deepEqual(
        { ...read, mark: Buffer.from(read.mark) },
        { type, line, pid, mark, id: idOf(line) },
      )
    }
  })

  it('holds of a stranger’s text what fits and may be printed, and never the next field', () => {
    const long = { ...RECORD, user: 'u'.repeat(99), host: `\u001b]0;x\u0007\n${'é'.repeat(999)}` }
    const bytes = Buffer.from(writeRecord(long, X64))
    assert.equal(bytes.toString('latin1', 44, 76), 'u'.repeat(32))
    assert.equal(bytes.toString('latin1', 76, 332), `?]0;x??${'?'.repeat(248)}\0`)
    assert.equal(bytes.readUInt32LE(332), 0)
    assert.deepEqual(bytes.subarray(348, 364), Buffer.alloc(16))
  })

  it('has the address in network order, and IPv4 in IPv6 dress as IPv4', () => {
    const addressOf = (host: string): string =>
      Buffer.from(writeRecord({ ...RECORD, host }, X64)).toString('hex', 348, 364)
    assert.equal(addressOf('2001:db8::7'), '20010db8000000000000000000000007')
    assert.equal(addressOf('fe80::1%eth0'), 'fe800000000000000000000000000001')
    assert.equal(addressOf('::ffff:192.0.2.7'), `c0000207${'0'.repeat(24)}`)
    for (const none of ['', 'web-1', '1.2.3', '1.2.3.4.5', ':::'])
      assert.equal(addressOf(none), '0'.repeat(32))
  })

  it('is read by who, last and utmpdump', async (t) => {
    const layout = layoutOf(thisSystem())
    assert.ok(layout !== undefined)
    const file = path.join(await temporaryFolder(t), 'wtmp')
    const ended = { ...RECORD, type: TYPE.dead, user: '', host: '', atMs: RECORD.atMs + 3_600_000 }
    const second = { ...RECORD, line: 'pts/4', user: 'bob', host: '2001:db8::7' }
    const all = [RECORD, second, ended].map((each) => writeRecord(each, layout))
    await writeFile(file, Buffer.concat(all))
    const env = { TZ: 'UTC', LC_ALL: 'C' }
    const who = await run('/usr/bin/who', [file], { env })
    assert.match(who.stdout, /^alice +pts\/3 +\S+ \S+ +22:13 \(192\.0\.2\.7\)$/m)
    assert.match(who.stdout, /^bob +pts\/4 .*\(2001:db8::7\)$/m)
    const last = await run('/usr/bin/last', ['-f', file, '--time-format=iso', '-i'], { env })
    const from = '2023-11-14T22:13:20+00:00'
    const to = '2023-11-14T23:13:20+00:00'
    assert.ok(last.stdout.includes(`${from} - ${to}  (01:00)`), last.stdout)
    assert.match(last.stdout, /^alice +pts\/3 +192\.0\.2\.7 /m)
    assert.match(last.stdout, /^bob +pts\/4 +2001:db8::7 /m)
    const dump = await run('/usr/bin/utmpdump', [file], { env })
    assert.match(
      dump.stdout,
      /^\[7\] \[16909060\] \[ts\/3\] \[alice +\] \[pts\/3 +\] \[192\.0\.2\.7 +\] \[192\.0\.2\.7 +\] \[2023-11-14T22:13:20,123000\+00:00\]$/m,
    )
  })
})
