// What a terminal's recording is worth: a vim session over stock OpenSSH, with changes of size, is recorded by the agent or by the proxy,
// and what can be had of it again is what the client's terminal got, in order and at its times. Whatever is done to the file is named.

import assert from 'node:assert/strict'
import { hash } from 'node:crypto'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { before, describe, it, type TestContext } from 'node:test'

import type { JsonObject } from '../../control/api/messages.ts'
import { readChunk, readHead } from '../../core/recording/format.ts'
import { NODE_NAME } from '../fixtures/cluster-file.ts'
import { suiteCleanup, temporaryFolder } from '../fixtures/files.ts'
import { NODE_FLAGS, type Output, run } from '../fixtures/processes.ts'
import { type Person, type SshNode, sshNode } from '../fixtures/ssh-node.ts'
import { driveVim, type VimSession } from '../matrix-ssh/vim.ts'

const MAIN = join(import.meta.dirname, '../../cli/main.ts')
/** How far the clocks of two processes, and whole milliseconds, may be apart. */
const CLOCKS_MS = 50

interface Shown {
  readonly atMs: number
  /** Bytes before it. */
  readonly offset: number
}

type Line = { readonly time: string; readonly event: string } & Readonly<Record<string, unknown>>

for (const mode of ['node', 'proxy'] as const)
  describe(`a vim session that is recorded in the mode ${mode}`, () => {
    const cleanup = suiteCleanup()
    let node: SshNode
    let person: Person
    let vim: VimSession
    let sid: string
    let lines: readonly Line[]
    /** What the client's terminal got from the machine. */
    let got: Buffer

    before(async () => {
      node = await sshNode(cleanup, mode)
      person = await node.sit('alice', ['access', 'auditor'])
      vim = await driveVim(person.seat, cleanup, 'vim.txt')
      assert.equal(vim.code, 7)
      const upload = await node.cluster.event('session.upload', ({ recorded_kind: kind }) => {
        return kind === 'ssh'
      })
      sid = sidOf(upload)
      lines = await jsonOf(person, sid)
      got = screenOf(vim)
    })

    it('holds exactly the bytes that the client’s terminal got', () => {
      const printed = lines.filter(({ event }) => event === 'print').map(bytesOf)
      assert.ok(printed.length > 10)
      // Not by assert.equal: of screens it would show the difference for pages.
      const recorded = Buffer.concat(printed)
      assert.deepEqual([recorded.length, digest(recorded)], [got.length, digest(got)])
    })

    it('has them not later than the client saw them, and nothing before it was asked for', () => {
      const seenAt = seen(vim)
      for (const { atMs, offset } of printsOf(lines)) {
        const seenMs = seenAt(offset)
        assert.ok(atMs <= seenMs + CLOCKS_MS, `byte ${offset}: ${atMs} recorded, ${seenMs} seen`)
      }
      const prints = printsOf(lines)
      const beganMs = Date.parse(lines[0]?.time ?? '')
      assert.ok(beganMs >= vim.beganAtMs - CLOCKS_MS)
      for (const { atMs } of vim.resizes) {
        const askedMs = vim.beganAtMs + atMs
        // What the client got after it asked was recorded after that, but for what was on its way.
        const next = vim.frames.findIndex((frame) => frame.atMs > atMs)
        const answered = vim.frames.slice(next).reduce((sum, { bytes }) => sum + bytes.length, 0)
        const after = prints.filter(({ offset }) => offset >= got.length - answered + QUIET_BYTES)
        assert.ok(after.length > 0)
        assert.ok(after.every((print) => print.atMs >= askedMs - CLOCKS_MS))
      }
    })

    it('has each change of size between what was shown before and what was drawn for it', () => {
      const sizes = lines.filter(({ event }) => event === 'resize')
      const wanted = [vim.size, ...vim.resizes.map(({ size }) => size)]
      // The kernel tells of a size in two steps, of which a client may see both.
      const recorded = sizes.map(({ columns, rows }) => `${Number(columns)}x${Number(rows)}`)
      let from = 0
      for (const { columns, rows } of wanted) {
        const at = recorded.indexOf(`${columns}x${rows}`, from)
        assert.ok(at >= from, `${columns}x${rows} is not in ${recorded.join(' ')}`)
        from = at + 1
      }
      for (const [at, { atMs, size }] of vim.resizes.entries()) {
        const index = lines.findIndex(
          ({ event, columns, rows }) =>
            event === 'resize' && columns === size.columns && rows === size.rows,
        )
        const [asked, line] = [vim.beganAtMs + atMs, lines[index]]
        assert.ok(line !== undefined && Date.parse(line.time) >= asked - CLOCKS_MS)
        const rest = lines.slice(index).filter(({ event }) => event === 'print')
        const drawn = Buffer.concat(rest.map(bytesOf)).toString('latin1')
        assert.match(drawn, new RegExp(`size${at}\\.\\d+ ${size.rows}x${size.columns} !`))
        const before = lines.slice(0, index).filter(({ event }) => event === 'print')
        const shown = Buffer.concat(before.map(bytesOf)).toString('latin1')
        assert.doesNotMatch(shown, new RegExp(`size${at}\\.\\d+ ${size.rows}x${size.columns} !`))
      }
    })

    it('shows the same as an asciicast and as a flat file, without what a terminal would answer', async () => {
      const cast = await told(person, ['play', '--format=cast', sid])
      const [head = '', ...rows] = cast.trim().split('\n')
      const { width, height, version } = JSON.parse(head) as Record<string, unknown>
      assert.deepEqual([version, width, height], [2, vim.size.columns, vim.size.rows])
      const events = rows.map((row) => JSON.parse(row) as [number, string, string])
      const text = events.flatMap(([, code, data]) => (code === 'o' ? [data] : [])).join('')
      const file = join(node.cluster.folder, 'data/control/recordings', `${sid}.txt`)
      assert.equal(text, await readFile(file, 'utf8'))
      assert.match(text, /line 3/)
      assert.ok(!text.includes('\u{1b}[>c') && !text.includes('\u{1b}]'))
      const sizes = events.flatMap(([, code, data]) => (code === 'r' ? [data] : []))
      for (const { size } of vim.resizes) assert.ok(sizes.includes(`${size.columns}x${size.rows}`))
      assert.ok(events.every(([seconds], at) => seconds >= (events[at - 1]?.[0] ?? 0)))
    })

    it('is listed with user, login and node, and is whole by the audit log', async () => {
      const table = await told(person, ['recordings', 'ls'])
      const row = table.split('\n').find((line) => line.startsWith(sid)) ?? ''
      assert.match(
        row,
        new RegExp(`^${sid}\\s+ssh\\s+alice\\s+${NODE_NAME}\\s+${node.account.login}\\s`),
      )
      const { code, stdout, stderr } = await tctl(node, ['verify', sid])
      assert.equal(code, 0, stderr)
      assert.match(stdout, /The recording is whole: .* as [1-9]\d* events of the audit log say/)
    })

    if (mode === 'node')
      it('of something longer is named damaged wherever somebody touched it', async (context) => {
        const command = 'head -c 900000 /dev/urandom | base64 -w 70'
        assert.equal((await person.seat.exec(command, {}, ['-tt'])).code, 0)
        const upload = await node.cluster.event('session.upload', (event) => event['sid'] !== sid)
        await tampered(context, node, sidOf(upload))
      })
  })

/** What vim may still write for keys of before while a change of size is under way. */
const QUIET_BYTES = 4096

async function tampered(context: TestContext, node: SshNode, sid: string): Promise<void> {
  const folder = await temporaryFolder(context)
  const whole = join(folder, 'whole.rec')
  assert.equal((await tctl(node, ['export', sid, `--out=${whole}`])).code, 0)
  const bytes = await readFile(whole)
  const parts = chunksOf(bytes)
  assert.ok(parts.chunks.length >= 4)
  const [first, second, third, ...rest] = parts.chunks
  assert.ok(first && second && third)
  const { head } = parts
  const flipped = Buffer.from(bytes)
  const flipAt = head.length + first.length + second.length - 1
  flipped[flipAt] = (flipped[flipAt] ?? 0) ^ 1
  const at2 = head.length + first.length
  const other = Buffer.from(second)
  const cases: readonly [string, Buffer, RegExp][] = [
    ['flipped', flipped, new RegExp(`byte ${at2}: flipped`)],
    ['dropped', Buffer.concat([head, first, third, ...rest]), new RegExp(`byte ${at2}: dropped`)],
    [
      'reordered',
      Buffer.concat([head, first, third, other, ...rest]),
      new RegExp(`byte ${at2 + third.length}: reordered`),
    ],
    [
      'truncated',
      bytes.subarray(0, bytes.length - 1),
      new RegExp(`byte ${bytes.length - (rest.at(-1)?.length ?? 0)}: truncated`),
    ],
    [
      'truncated',
      Buffer.concat([head, first, second]),
      new RegExp(`byte ${at2 + second.length}: truncated: its end is missing`),
    ],
    ['spliced', Buffer.concat([bytes, second]), new RegExp(`byte ${bytes.length}: spliced`)],
  ]
  for (const [at, [kind, changed, expected]] of cases.entries()) {
    const file = join(folder, `${at}-${kind}.rec`)
    await writeFile(file, changed)
    const { code, stderr } = await tctl(node, ['verify', file])
    assert.equal(code, 1, kind)
    assert.match(stderr, expected)
  }
  // Where control keeps it: whoever has its disk changes it there.
  const stored = join(node.cluster.folder, 'data/control/recordings', `${sid}.rec`)
  await writeFile(stored, flipped)
  const { code, stderr } = await tctl(node, ['verify', sid])
  await writeFile(stored, bytes)
  assert.equal(code, 1)
  assert.match(stderr, new RegExp(`byte ${at2}: flipped`))
}

function chunksOf(bytes: Buffer): { head: Buffer; chunks: readonly Buffer[] } {
  let at = readHead(bytes)?.end ?? 0
  const head = bytes.subarray(0, at)
  const chunks: Buffer[] = []
  while (at < bytes.length) {
    const reading = readChunk(bytes.subarray(at))
    assert.ok(reading.verdict === 'chunk')
    chunks.push(bytes.subarray(at, at + reading.bytes))
    at += reading.bytes
  }
  return { head, chunks }
}

/** Without the last words of the client itself, which come in a terminal that is its own again. */
function screenOf(vim: VimSession): Buffer {
  const all = Buffer.concat(vim.frames.map(({ bytes }) => bytes))
  const at = all.lastIndexOf('Connection to ')
  const words = all.subarray(Math.max(at, all.length - 100)).toString('latin1')
  assert.match(words, /^Connection to \S+ closed\.\r*\n$/)
  return all.subarray(0, at)
}

/** When the client's terminal had the byte at an offset. */
function seen(vim: VimSession): (offset: number) => number {
  return (offset) => {
    let end = 0
    for (const { atMs, bytes } of vim.frames) {
      end += bytes.length
      if (end > offset) return vim.beganAtMs + atMs
    }
    return Number.POSITIVE_INFINITY
  }
}

function printsOf(lines: readonly Line[]): readonly Shown[] {
  let offset = 0
  return lines.flatMap((line) => {
    if (line.event !== 'print') return []
    const shown = { atMs: Date.parse(line.time), offset }
    offset += bytesOf(line).length
    return [shown]
  })
}

function digest(bytes: Buffer): string {
  return hash('sha256', bytes)
}

function bytesOf(line: Line): Buffer {
  return Buffer.from(String(line['data']), 'base64')
}

async function jsonOf(person: Person, sid: string): Promise<readonly Line[]> {
  const text = await told(person, ['play', '--format=json', sid])
  return text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Line)
}

async function told({ tsh }: Person, args: readonly string[]): Promise<string> {
  const { code, stdout, stderr } = await tsh.run(args)
  assert.equal(code, 0, stderr)
  return stdout
}

async function tctl({ cluster }: SshNode, args: readonly string[]): Promise<Output> {
  const config = `--config=${join(cluster.folder, 'sluice.yaml')}`
  const words = [...NODE_FLAGS, MAIN, 'tctl', 'recordings', ...args, config]
  return await run(process.execPath, words)
}

function sidOf({ sid }: JsonObject): string {
  assert.ok(typeof sid === 'string')
  return sid
}
