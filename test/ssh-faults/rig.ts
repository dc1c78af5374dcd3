// A cluster that is a node and whose agent and proxy have small disks; a person at a terminal whose recording is under way when a part
// fails. `run` carries out one cell and judges what is left: the session, the recording at control, and everything as before.

import assert from 'node:assert/strict'
import { readdir } from 'node:fs/promises'
import { join } from 'node:path'

import { fileBytes, RecordingReader, storedBytes } from '../../cli/recording/read.ts'
import { ROLES } from '../../cli/supervisor/messages.ts'
import { sidOfName } from '../../core/recording/name.ts'
import { Aftermath } from '../faults/aftermath.ts'
import { eventually } from '../faults/eventually.ts'
import { freeze } from '../faults/processes.ts'
import { SmallDisk } from '../faults/small-disk.ts'
import type { Cluster } from '../fixtures/cluster.ts'
import type { Cleanup } from '../fixtures/files.ts'
import { Diagnostics } from '../fixtures/metrics.ts'
import { type Person, sshNode } from '../fixtures/ssh-node.ts'
import type { Seat } from '../matrix-ssh/seat.ts'
import { Dialogue, FLOOD, linesOf } from './dialogue.ts'
import type { Cell, Fault, Place } from './table.ts'

const MB = 1024 * 1024
const DISK_BYTES = 64 * MB
const EVENTS = 'session.start,session.end,ssh.connection'
const DURABLE_MS = 20_000
const RESTART_MS = 30_000
const UPLOADED_MS = 60_000
const AGAIN_MS = 30_000
const LOG_CHARS = 5000
const RECORDERS = { node: 'agent', proxy: 'proxy' } as const

type Recorder = (typeof RECORDERS)[Place]

/** A recording as its events say it. */
interface Found {
  readonly lines: readonly string[]
  readonly prints: Buffer
  /** Events that were lost and are counted. */
  readonly lost: number
  readonly reason: string
  readonly damages: readonly unknown[]
}

export interface SyncOrNot {
  readonly place: Place
  readonly sync: boolean
}

export class SshFaults {
  readonly #cluster: Cluster
  readonly #recorder: Recorder
  readonly #people: { readonly strict: Person; readonly best_effort: Person }
  readonly #disks: Readonly<Record<Recorder, SmallDisk>>
  readonly #aftermath: Aftermath

  private constructor(
    cluster: Cluster,
    recorder: Recorder,
    people: { readonly strict: Person; readonly best_effort: Person },
    disks: Readonly<Record<Recorder, SmallDisk>>,
    aftermath: Aftermath,
  ) {
    this.#cluster = cluster
    this.#recorder = recorder
    this.#people = people
    this.#disks = disks
    this.#aftermath = aftermath
  }

  static async start(cleanup: Cleanup, { place, sync }: SyncOrNot): Promise<SshFaults> {
    const diagnostics = await Diagnostics.reserve()
    const disks: Partial<Record<Recorder, SmallDisk>> = {}
    const node = await sshNode(cleanup, sync ? `${place}-sync` : place, {
      extra: { sluice: diagnostics.lines },
      prepareData: (folder) => {
        for (const role of ['agent', 'proxy'] as const)
          disks[role] = SmallDisk.mount(cleanup, join(folder, role), DISK_BYTES)
      },
    })
    const { cluster } = node
    for (const rule of ['strict', 'best_effort'] as const)
      await cluster.role(rule, {
        options: { record_session: { ssh: rule } },
        allow: { logins: ['{{internal.logins}}'], node_labels: { '*': ['*'] } },
      })
    const strict = await node.sit('alice', ['strict'])
    const people = { strict, best_effort: await node.sit('bob', ['best_effort']) }
    const { agent, proxy } = disks
    assert.ok(agent && proxy)
    const aftermath = new Aftermath(cluster, diagnostics, EVENTS, ROLES.length + 1)
    return new SshFaults(cluster, RECORDERS[place], people, { agent, proxy }, aftermath)
  }

  async run(cleanup: Cleanup, cell: Cell): Promise<void> {
    const before = await this.#aftermath.acknowledged()
    const known = new Set(await this.#spooled())
    const { seat } = this.#people[cell.rule === 'best_effort' ? 'best_effort' : 'strict']
    try {
      const dialogue = await Dialogue.open(cleanup, seat)
      await dialogue.say('before')
      const sid = await this.#durable(known, 'before')
      await this.#endure(cleanup, cell, seat, dialogue)
      this.#judge(cell, dialogue, await this.#uploaded(sid))
      await this.#recovered(seat)
      await this.#aftermath.audited(before)
    } catch (error) {
      const log = this.#cluster.program.output().slice(-LOG_CHARS)
      const message = error instanceof Error ? error.message : String(error)
      throw new Error(`${message}\n${log}`, { cause: error })
    }
  }

  async #endure(
    cleanup: Cleanup,
    { fault, rule }: Cell,
    seat: Seat,
    dialogue: Dialogue,
  ): Promise<void> {
    switch (fault) {
      case 'disk full where it is recorded':
        return await this.#fullDisk(rule, seat, dialogue)
      case 'SIGSTOP of control': {
        const thaw = freeze(cleanup, this.#cluster.pid('control'))
        await dialogue.say('during')
        thaw()
        await dialogue.say('after')
        return await dialogue.leave()
      }
      case 'kill -9 of control':
        await this.#kill('control', () => dialogue.say('during'))
        await dialogue.say('after')
        return await dialogue.leave()
      case 'kill -9 of the agent':
      case 'kill -9 of the proxy': {
        await dialogue.say('tail')
        await this.#kill(killed(fault), async () => {
          assert.notEqual((await dialogue.gone()).code, 0)
        })
      }
    }
  }

  async #fullDisk(rule: Cell['rule'], seat: Seat, dialogue: Dialogue): Promise<void> {
    const disk = this.#disks[this.#recorder]
    const from = this.#cluster.program.output().length
    disk.fill()
    try {
      dialogue.type(FLOOD)
      dialogue.type('during')
      if (rule === 'strict') return await this.#endsStrictly(seat, dialogue)
      if (rule === 'best_effort') await dialogue.shows('during')
      await eventually(
        () => this.#cluster.program.output().slice(from).includes('a recording could not be'),
        DURABLE_MS,
        'the disk refused a chunk',
      )
      if (rule === 'sync') assert.ok(!dialogue.seen.includes('during'), 'it was shown unrecorded')
    } finally {
      disk.free()
    }
    if (rule === 'sync') await dialogue.shows('during')
    await dialogue.say('after')
    await dialogue.leave()
  }

  /** And who comes while it is full does not stay unrecorded, and is told why. */
  async #endsStrictly(seat: Seat, dialogue: Dialogue): Promise<void> {
    await dialogue.gone()
    const screen = dialogue.screen.toString('latin1')
    assert.match(screen, /could not be kept.*record_session is strict for SSH/s)
    assert.match(screen, /Ask whoever runs Sluice/)
    const { code, stdout, stderr } = await seat.exec('exec tail -f /dev/null', {}, ['-tt'])
    assert.notEqual(code, 0)
    assert.match(stdout + stderr, /could not be kept.*record_session is strict for SSH/s)
  }

  async #kill(role: 'agent' | 'proxy' | 'control', meanwhile: () => Promise<void>): Promise<void> {
    const pid = this.#cluster.pid(role)
    process.kill(pid, 'SIGKILL')
    await meanwhile()
    const again = (): boolean => this.#cluster.pid(role) !== pid
    await eventually(again, RESTART_MS, `the ${role} is started again`)
  }

  #judge({ expected }: Cell, dialogue: Dialogue, found: Found): void {
    assert.deepEqual(found.damages, [])
    assert.ok(found.lines.includes('before'), 'what was durable is lost')
    if (!expected.endsWith('counted gap')) assertSame(found, dialogue.screen)
    switch (expected) {
      case 'goes on, whole':
        assert.deepEqual(found.lines, ['before', 'during', 'after'])
        return assert.match(found.reason, /^the program ended/)
      case 'waits, whole':
        assert.deepEqual(found.lines, ['before', FLOOD, 'during', 'after'])
        return assert.match(found.reason, /^the program ended/)
      case 'goes on, counted gap':
        assert.deepEqual(dialogue.seen, ['before', FLOOD, 'during', 'after'])
        assert.ok(found.lost > 0, 'the gap is not counted')
        assert.ok(found.lines.includes('after'))
        return assert.match(found.reason, /^the program ended/)
      case 'ends and says why, counted gap':
        assert.ok(found.lost > 0, 'the gap is not counted')
        return assert.match(found.reason, /could not be kept/)
      case 'cut, whole':
        assert.deepEqual(found.lines, ['before', 'tail'])
        return assert.doesNotMatch(found.reason, /is lost/)
      case 'cut, tail lost and said':
        assert.ok(found.lines.every((line, at) => line === ['before', 'tail'][at]))
        return assert.match(found.reason, /^the process that recorded it ended .* is lost$/)
      case 'cut, nothing shown is lost':
        assert.deepEqual(found.lines, ['before', 'tail'])
        assert.match(found.reason, /^the process that recorded it ended/)
    }
  }

  /** Ids of the recordings on the recorder's disk. */
  async #spooled(): Promise<readonly string[]> {
    const names = await readdir(this.#folder())
    return names.flatMap((name) => sidOfName(name) ?? [])
  }

  #folder(): string {
    return join(this.#cluster.folder, 'data', this.#recorder, 'recordings')
  }

  /** Waits until the recorder's disk has what was said; the id of the recording. */
  async #durable(known: ReadonlySet<string>, word: string): Promise<string> {
    let sid = ''
    const has = async (): Promise<boolean> => {
      sid = (await this.#spooled()).find((each) => !known.has(each)) ?? ''
      if (sid === '') return false
      const { lines } = await foundIn(fileBytes(join(this.#folder(), `${sid}.rec`)))
      return lines.includes(word)
    }
    await eventually(has, DURABLE_MS, `"${word}" is on the disk of the ${this.#recorder}`)
    return sid
  }

  /** What control has, once it is sealed there and gone from the recorder's disk. */
  async #uploaded(sid: string): Promise<Found> {
    const gone = async (): Promise<boolean> => !(await this.#spooled()).includes(sid)
    await eventually(gone, UPLOADED_MS, 'the recording is uploaded')
    assert.deepEqual(await readdir(join(this.#folder(), 'quarantine')), [])
    return await foundIn(storedBytes(this.#cluster.admin, sid))
  }

  async #recovered(seat: Seat): Promise<void> {
    await this.#aftermath.answered()
    let words = ''
    const works = async (): Promise<boolean> => {
      const { code, stderr } = await seat.exec('true')
      words = stderr
      return code === 0
    }
    await eventually(works, AGAIN_MS, () => `a new session works again: ${words}`)
    await this.#aftermath.settled()
  }
}

function killed(fault: Extract<Fault, `kill -9 of the ${string}`>): 'agent' | 'proxy' {
  return fault === 'kill -9 of the agent' ? 'agent' : 'proxy'
}

/** Recorded before it is shown: one is the beginning of the other, and nothing is missing in between. */
function assertSame({ prints, lost }: Found, screen: Buffer): void {
  const shared = Math.min(screenEnd(screen), prints.length)
  assert.equal(
    prints.subarray(0, shared).toString('latin1'),
    screen.subarray(0, shared).toString('latin1'),
  )
  assert.equal(lost, 0)
}

/** Up to the end of the last line that came back: what follows is the client's own, or a word of ours. */
function screenEnd(shown: Buffer): number {
  const at = shown.lastIndexOf('said ')
  return at < 0 ? 0 : shown.indexOf('\r\n', at) + 2
}

async function foundIn(bytes: AsyncIterable<Uint8Array>): Promise<Found> {
  const reader = new RecordingReader(bytes)
  const prints: Uint8Array[] = []
  let lost = 0
  let reason = ''
  for await (const event of reader.events()) {
    if (event.kind === 'print') prints.push(event.bytes)
    if (event.kind === 'gap') lost += event.lost
    if (event.kind === 'end') reason = event.reason
  }
  const all = Buffer.concat(prints)
  return { lines: linesOf(all), prints: all, lost, reason, damages: reader.damages }
}
