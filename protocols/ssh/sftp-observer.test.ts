// What is told of an SFTP session, whichever way its bytes are cut, and what ends it.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { max } from '../../core/limits.ts'
import { string, u32, u64 } from '../../core/ssh/bytes.ts'
import { INIT, message, status, VERSION } from './sftp-bytes.fixture.ts'
import { SftpObserver } from './sftp-observer.ts'

interface Event {
  readonly code: string
  readonly [field: string]: unknown
}

/** A turn of the conversation: who, and what. */
type Turn = readonly ['client' | 'server', Uint8Array]

function observe(
  turns: readonly Turn[],
  cut = Number.POSITIVE_INFINITY,
): {
  readonly events: Event[]
  readonly observer: SftpObserver
} {
  const events: Event[] = []
  const observer = new SftpObserver((code, fields) => void events.push({ code, ...fields }))
  for (const [from, bytes] of turns)
    for (let at = 0; at < bytes.length; at += cut) {
      const piece = bytes.subarray(at, Math.min(at + cut, bytes.length))
      if (from === 'client') observer.fromClient(piece)
      else observer.fromServer(piece)
    }
  return { events, observer }
}

const BEGIN: readonly Turn[] = [
  ['client', INIT],
  ['server', VERSION],
]

function codes(turns: readonly Turn[]): string[] {
  return observe([...BEGIN, ...turns]).events.map(({ code }) => code)
}

function fault(turns: readonly Turn[]): string | undefined {
  const { observer, events } = observe([...BEGIN, ...turns])
  const told = events.filter(({ code }) => code === 'SLH002E')
  assert.equal(told.length, observer.fault === undefined ? 0 : 1)
  return observer.fault
}

const OPEN = message(3, 1, '/etc/motd', 0x1a, 0)
const data = Buffer.alloc(1000, 'x')

/** Opens, writes, reads, lists, changes and looks, with answers out of order. */
const WHOLE: readonly Turn[] = [
  ...BEGIN,
  ['client', Buffer.concat([OPEN, message(17, 2, '/etc')])],
  ['server', Buffer.concat([message(105, 2, 0), message(102, 1, 'h1')])],
  ['client', message(6, 3, 'h1', 0n, string(data))],
  ['client', message(6, 4, 'h1', 1000n, string(data.subarray(0, 500)))],
  ['server', Buffer.concat([status(4, 4), status(3, 0)])],
  ['client', message(5, 5, 'h1', 0n, 32768)],
  ['server', message(103, 5, string(data))],
  ['client', message(5, 6, 'h1', 1000n, 32768)],
  ['server', status(6, 1)],
  ['client', message(10, 7, 'h1', 0)],
  ['server', status(7, 0)],
  ['client', message(4, 8, 'h1')],
  ['server', status(8, 0)],
  ['client', message(11, 9, '/tmp')],
  ['server', message(102, 9, 'h2')],
  ['client', Buffer.concat([message(12, 10, 'h2'), message(12, 11, 'h2')])],
  ['server', Buffer.concat([message(104, 10, 1, 'a', 'long a', 0), status(11, 1)])],
  ['client', message(4, 12, 'h2')],
  ['server', status(12, 0)],
  ['client', message(9, 13, '/f', 0)],
  ['client', message(13, 14, '/g')],
  ['client', message(14, 15, '/d', 0)],
  ['client', message(15, 16, '/d')],
  ['client', message(18, 17, '/old', '/new')],
  ['client', message(20, 18, '/target', '/link')],
  ['client', message(200, 19, 'posix-rename@openssh.com', '/o', '/n')],
  ['client', message(200, 20, 'hardlink@openssh.com', '/o', '/n')],
  ['client', message(200, 21, 'statvfs@openssh.com', '/')],
  ['server', Buffer.concat([13, 14, 15, 16, 17, 18, 19, 20].map((id) => status(id, 0)))],
  ['server', message(201, 21, u64(1n))],
]

const OPENED: readonly Turn[] = [
  ['client', OPEN],
  ['server', message(102, 1, 'h')],
]

/** What cannot be attributed. */
const FAULTS: readonly (readonly [string, readonly Turn[]])[] = [
  ['an answer nobody waits for', [['server', status(9, 0)]]],
  [
    'an answer twice',
    [
      ['client', message(13, 1, '/x')],
      ['server', Buffer.concat([status(1, 0), status(1, 0)])],
    ],
  ],
  ['one number twice', [['client', Buffer.concat([message(13, 1, '/x'), message(13, 1, '/y')])]]],
  [
    'a handle twice',
    [...OPENED, ['client', message(3, 2, '/y', 1, 0)], ['server', message(102, 2, 'h')]],
  ],
  [
    'data of no file',
    [
      ['client', message(5, 1, 'no', 0n, 1)],
      ['server', message(103, 1, string('x'))],
    ],
  ],
  [
    'a write into no file',
    [
      ['client', message(6, 1, 'no', 0n, string('x'))],
      ['server', status(1, 0)],
    ],
  ],
  ['a write with another length', [...OPENED, ['client', message(6, 2, 'h', 0n, u32(7), data)]]],
  [
    'an open that is fine without a handle',
    [
      ['client', OPEN],
      ['server', status(1, 0)],
    ],
  ],
  [
    'a name as the answer of a removal',
    [
      ['client', message(13, 1, '/x')],
      ['server', message(104, 1, 0)],
    ],
  ],
  ['an unknown request', [['client', message(99, 1)]]],
  ['an unknown extension', [['client', message(200, 1, 'run-anything@example.com')]]],
  ['a second beginning', [['client', INIT]]],
  [
    'an empty message',
    [
      ['client', u32(0)],
      ['client', Buffer.alloc(1)],
    ],
  ],
  [
    'a message over its bound',
    [['client', Buffer.concat([u32(max('sftpMessageBytesMax') + 1), data])]],
  ],
  ['a cut request', [['client', message(3, 1)]]],
  ['a path over its bound', [['client', message(13, 1, 'x'.repeat(max('sftpPathBytesMax') + 1))]]],
  [
    'a handle over its bound',
    [['client', message(4, 1, 'x'.repeat(max('sftpHandleBytesMax') + 1))]],
  ],
]

describe('an SFTP session', () => {
  it('is told of by what came of each request, and by file how much went which way', () => {
    const { events, observer } = observe(WHOLE)
    observer.end()
    assert.equal(observer.fault, undefined)
    const file = { path: '/etc/motd' }
    assert.deepEqual(events, [
      { code: 'TS001I', action: 'open', ...file, flags: 'write,create,truncate' },
      { code: 'TS008I', action: 'fsetstat', ...file },
      { code: 'TS002I', action: 'close', ...file, bytes_read: 1000, bytes_written: 1000 },
      { code: 'TS009I', action: 'opendir', path: '/tmp' },
      { code: 'TS010I', action: 'readdir', path: '/tmp' },
      { code: 'TS007I', action: 'setstat', path: '/f' },
      { code: 'TS011I', action: 'remove', path: '/g' },
      { code: 'TS012I', action: 'mkdir', path: '/d' },
      { code: 'TS013I', action: 'rmdir', path: '/d' },
      { code: 'TS016I', action: 'rename', path: '/old', target_path: '/new' },
      { code: 'TS018I', action: 'symlink', path: '/link', target_path: '/target' },
      { code: 'TS016I', action: 'rename', path: '/o', target_path: '/n' },
      { code: 'TS019I', action: 'link', path: '/n', target_path: '/o' },
      {
        code: 'TS021I',
        files_read: 1,
        files_written: 1,
        bytes_read: 1000,
        bytes_written: 1000,
        operations: 13,
        failures: 0,
      },
    ])
  })

  it('comes to the same wherever its bytes are cut', () => {
    const whole = observe(WHOLE).events
    for (const cut of [1, 2, 3, 5, 7, 11, 64, 999])
      assert.deepEqual(observe(WHOLE, cut).events, whole, `pieces of ${cut}`)
  })

  it('tells failures with their reason', () => {
    const { events } = observe([...BEGIN, ['client', OPEN], ['server', status(1, 3)]])
    assert.deepEqual(events, [
      {
        code: 'TS001E',
        action: 'open',
        path: '/etc/motd',
        flags: 'write,create,truncate',
        error: 'permission denied',
        status: 3,
      },
    ])
  })

  it('tells an open before its answer passes, and nothing of data', () => {
    assert.deepEqual(codes([['client', OPEN]]), [])
    assert.deepEqual(
      codes([
        ['client', OPEN],
        ['server', message(102, 1, 'h')],
      ]),
      ['TS001I'],
    )
  })

  it('tells at its end what was never answered and what was left open', () => {
    const { events, observer } = observe([
      ...BEGIN,
      ['client', OPEN],
      ['server', message(102, 1, 'h')],
      ['client', message(6, 2, 'h', 0n, string(data))],
      ['server', status(2, 0)],
      ['client', message(13, 3, '/gone')],
    ])
    observer.end()
    assert.deepEqual(
      events.slice(1).map(({ code, path, unanswered }) => [code, path, unanswered]),
      [
        ['TS011I', '/gone', true],
        ['TS002I', '/etc/motd', true],
        ['TS021I', undefined, undefined],
      ],
    )
  })

  it('ends at what cannot be attributed', () => {
    for (const [name, turns] of FAULTS) assert.notEqual(fault(turns), undefined, name)
    assert.equal(fault(OPENED), undefined)
    assert.notEqual(observe([['client', OPEN]]).observer.fault, undefined, 'no beginning')
    assert.notEqual(
      observe([
        ['client', INIT],
        ['server', message(2, 6)],
      ]).observer.fault,
      undefined,
      'another version',
    )
  })

  it('holds no more than its limits', () => {
    const many = (count: number, of: (id: number) => Uint8Array): Uint8Array =>
      Buffer.concat(Array.from({ length: count }, (_, id) => of(id)))
    const asked = many(max('sftpPendingMax') + 1, (id) => message(13, id, 'x'))
    assert.match(fault([['client', asked]]) ?? '', /sftpPendingMax/)
    const open = max('sftpHandlesMax') + 1
    const opens = many(open, (id) => message(3, id, 'x', 1, 0))
    const handles = many(open, (id) => message(102, id, `h${id}`))
    assert.match(
      fault([
        ['client', opens],
        ['server', handles],
      ]) ?? '',
      /sftpHandlesMax/,
    )
    const long = many(300, (id) => message(13, id, 'x'.repeat(max('sftpPathBytesMax'))))
    assert.match(fault([['client', long]]) ?? '', /sftpKeptBytesMax/)
    // What was answered is not held.
    const again: Turn[] = []
    for (let id = 0; id < 3 * max('sftpPendingMax'); id++)
      again.push(['client', message(13, id, 'x'.repeat(1000))], ['server', status(id, 0)])
    assert.equal(fault(again), undefined)
  })
})
