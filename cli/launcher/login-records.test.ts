// What becomes of utmp and wtmp: whose records are touched, whose are not, and what happens when they cannot be.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { symlink, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { describe, it, type TestContext } from 'node:test'

import { FakeClock } from '../../core/clock.ts'
import { max } from '../../core/limits.ts'
import { silentLogger } from '../../core/log.ts'
import { temporaryFolder } from '../../test/fixtures/files.ts'
import { type LoginFiles, LoginRecords } from './login-records.ts'
import { layoutOf, type LoginRecord, readRecord, TYPE, writeRecord } from './utmp.ts'

const LAYOUT = layoutOf({ platform: 'linux', arch: 'x64', glibc: '2.36' })
const ALICE = { line: 'pts/3', pid: 31, user: 'alice', host: '192.0.2.7' }
const BOB = { line: 'pts/4', pid: 41, user: 'bob', host: '' }
/** As sshd writes it. */
const FOREIGN = { ...ALICE, pid: 77, type: TYPE.user, atMs: 0, mark: new Uint8Array() }

interface Rig {
  readonly files: LoginFiles
  readonly said: string[]
  readonly open: (owner?: string) => LoginRecords
}

async function rig(t: TestContext, utmp: readonly LoginRecord[] = []): Promise<Rig> {
  const folder = await temporaryFolder(t)
  const files = { utmp: path.join(folder, 'utmp'), wtmp: path.join(folder, 'wtmp') }
  assert.ok(LAYOUT !== undefined)
  const layout = LAYOUT
  await writeFile(files.utmp, Buffer.concat(utmp.map((each) => writeRecord(each, layout))))
  await writeFile(files.wtmp, '')
  const said: string[] = []
  const log = {
    ...silentLogger,
    warn: (message: string, fields: object = {}) =>
      void said.push(`${message} ${JSON.stringify(fields)}`),
  }
  const clock = new FakeClock()
  return {
    files,
    said,
    open: (owner = '/run/one') => new LoginRecords({ files, layout, owner, clock, log }),
  }
}

/** `type line pid` of each record. */
function recordsIn(file: string): readonly string[] {
  assert.ok(LAYOUT !== undefined)
  const layout = LAYOUT
  const bytes = readFileSync(file)
  assert.equal(bytes.length % layout.recordBytes, 0)
  return Array.from({ length: bytes.length / layout.recordBytes }, (_, index) => {
    const { type, line, pid } = readRecord(bytes, index * layout.recordBytes, layout)
    return `${type === TYPE.user ? 'user' : type === TYPE.dead ? 'dead' : type} ${line} ${pid}`
  })
}

describe('records of terminals', () => {
  it('begin and end in both files: wtmp grows, utmp keeps one of each terminal', async (t) => {
    const { files, said, open } = await rig(t)
    const records = open()
    records.began(ALICE)
    records.began(BOB)
    assert.deepEqual(recordsIn(files.utmp), ['user pts/3 31', 'user pts/4 41'])
    records.ended(ALICE)
    records.ended(ALICE)
    assert.deepEqual(recordsIn(files.utmp), ['dead pts/3 31', 'user pts/4 41'])
    records.began({ ...ALICE, pid: 32 })
    assert.deepEqual(recordsIn(files.utmp), ['user pts/3 32', 'user pts/4 41'])
    const ever = ['user pts/3 31', 'user pts/4 41', 'dead pts/3 31', 'user pts/3 32']
    assert.deepEqual(recordsIn(files.wtmp), ever)
    assert.deepEqual(said, [])
  })

  it('take the place of what others left of the terminal, and of nothing else', async (t) => {
    const others = [
      { ...FOREIGN, line: '~', pid: 0, type: 2 },
      { ...FOREIGN, line: 'tty1', pid: 6, type: 6 },
      { ...FOREIGN, line: 'pts/13' },
      FOREIGN,
      { ...FOREIGN, line: 'pts/4', type: TYPE.dead },
    ]
    const { files, open } = await rig(t, others)
    const records = open()
    for (const session of [ALICE, BOB]) records.began(session)
    const kept = ['2 ~ 0', '6 tty1 6', 'user pts/13 77']
    assert.deepEqual(recordsIn(files.utmp), [...kept, 'user pts/3 31', 'user pts/4 41'])
  })

  it('leave a record of the same id that is another terminal’s, and one that names ours otherwise', async (t) => {
    const session = { ...ALICE, line: 'pts/20003' }
    const { files, open } = await rig(t, [
      { ...FOREIGN, line: 'pts/10003' },
      { ...FOREIGN, line: 'pts/20003' },
    ])
    const utmp = readFileSync(files.utmp)
    // ut_id of the second.
    utmp.write('zz', 384 + 40)
    await writeFile(files.utmp, utmp)
    open().began(session)
    const kept = ['user pts/10003 77', 'user pts/20003 77']
    assert.deepEqual(recordsIn(files.utmp), [...kept, 'user pts/20003 31'])
    utmp.writeInt16LE(TYPE.dead, 384)
    await writeFile(files.utmp, utmp)
    open().began(session)
    assert.deepEqual(recordsIn(files.utmp), ['user pts/10003 77', 'user pts/20003 31'])
  })

  it('that another took over are not ended there', async (t) => {
    const { files, open } = await rig(t)
    const records = open()
    records.began(ALICE)
    assert.ok(LAYOUT !== undefined)
    await writeFile(files.utmp, writeRecord(FOREIGN, LAYOUT))
    records.ended(ALICE)
    assert.deepEqual(recordsIn(files.utmp), ['user pts/3 77'])
    assert.deepEqual(recordsIn(files.wtmp), ['user pts/3 31', 'dead pts/3 31'])
  })

  it('that a killed launcher left are ended by its next start, and no other’s', async (t) => {
    const { files, open } = await rig(t, [{ ...FOREIGN, line: 'pts/1' }])
    open('/run/one').began(ALICE)
    open('/run/other').began(BOB)
    open('/run/one').endStale()
    assert.deepEqual(recordsIn(files.utmp), ['user pts/1 77', 'dead pts/3 31', 'user pts/4 41'])
    assert.deepEqual(recordsIn(files.wtmp).at(-1), 'dead pts/3 31')
    open('/run/one').endStale()
    assert.equal(recordsIn(files.wtmp).length, 3)
  })

  it('are all ended with the launcher', async (t) => {
    const { files, open } = await rig(t)
    const records = open()
    for (const session of [ALICE, BOB]) records.began(session)
    records.close()
    assert.deepEqual(recordsIn(files.utmp), ['dead pts/3 31', 'dead pts/4 41'])
  })

  it('are of no file that is not there', async (t) => {
    const said: string[] = []
    const gone = path.join(await temporaryFolder(t), 'none')
    assert.ok(LAYOUT !== undefined)
    const files = { utmp: gone, wtmp: gone }
    const records = new LoginRecords({
      files,
      layout: LAYOUT,
      owner: '',
      clock: new FakeClock(),
      log: { ...silentLogger, warn: (message) => void said.push(message) },
    })
    records.endStale()
    records.began(ALICE)
    records.ended(ALICE)
    assert.equal(existsSync(gone), false)
    assert.deepEqual(said, [])
  })

  it('that cannot be written are said once for each file, and stop nobody', async (t) => {
    const { files, said, open } = await rig(t)
    // A torn record, and a list longer than a machine has terminals.
    await writeFile(files.wtmp, Buffer.alloc(100))
    await writeFile(files.utmp, Buffer.alloc(Math.ceil(max('utmpBytesMax') / 384 + 1) * 384))
    const records = open()
    for (const session of [ALICE, BOB]) records.began(session)
    records.close()
    assert.equal(said.length, 2)
    assert.match(said[0] ?? '', /not one of whole records/)
    assert.match(said[1] ?? '', /utmpBytesMax/)
    assert.equal(readFileSync(files.wtmp).length, 100)
  })

  it('follow no link', async (t) => {
    const { files, said } = await rig(t)
    const folder = await temporaryFolder(t)
    const linked = path.join(folder, 'wtmp')
    await symlink(files.wtmp, linked)
    assert.ok(LAYOUT !== undefined)
    const records = new LoginRecords({
      files: { utmp: files.utmp, wtmp: linked },
      layout: LAYOUT,
      owner: '',
      clock: new FakeClock(),
      log: { ...silentLogger, warn: (message) => void said.push(message) },
    })
    records.began(ALICE)
    assert.equal(said.length, 1)
    assert.equal(readFileSync(files.wtmp).length, 0)
  })
})
