// SFTP of any client and any server, in any pieces: the same events, no fault but a declared one, nothing kept past the limits.

import assert from 'node:assert/strict'

import { INIT, message, status, VERSION } from '../../../protocols/ssh/sftp-bytes.fixture.ts'
import { SftpObserver } from '../../../protocols/ssh/sftp-observer.ts'
import { string } from '../../../core/ssh/bytes.ts'
import type { Codec } from '../engine.ts'

/** What comes first on the other side, so that the fuzzed one means something. */
const ASKED: readonly Uint8Array[] = [
  INIT,
  message(3, 1, '/etc/motd', 3, 0),
  message(11, 2, '/tmp'),
  message(13, 3, '/x'),
  message(5, 4, 'h', 0n, 100),
  message(6, 5, 'h', 0n, string('data')),
]
const ANSWERED: readonly Uint8Array[] = [VERSION, message(102, 1, 'h'), message(102, 2, 'd')]

function run(side: 'client' | 'server', pieces: readonly Uint8Array[]): string[] {
  const told: string[] = []
  const observer = new SftpObserver((code, fields) => {
    told.push(`${code} ${JSON.stringify(fields)}`)
  })
  if (side === 'server') for (const each of ASKED) observer.fromClient(each)
  else {
    for (const each of ASKED.slice(0, 3)) observer.fromClient(each)
    for (const each of ANSWERED) observer.fromServer(each)
  }
  for (const piece of pieces)
    if (side === 'client') observer.fromClient(piece)
    else observer.fromServer(piece)
  if (observer.fault !== undefined) told.push(observer.fault)
  observer.end()
  return told
}

function codec(side: 'client' | 'server', seeds: readonly Uint8Array[]): Codec {
  return {
    name: `sftp-${side}`,
    seeds: () => [Buffer.concat(seeds), ...seeds],
    check(bytes, cuts) {
      const whole = run(side, [bytes])
      const edges = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort(
        (a, b) => a - b,
      )
      const pieces = edges.slice(1).map((to, index) => bytes.subarray(edges[index], to))
      assert.deepEqual(run(side, pieces), whole)
      const codes = whole
        .map((line) => line.split(' ')[0] ?? '')
        .filter((word) => /^[ST]/.test(word))
      return [...new Set(codes)].sort().join(' ')
    },
  }
}

export const sshCodecs: readonly Codec[] = [
  codec('client', [
    message(4, 9, 'h'),
    message(6, 10, 'h', 0n, string('data')),
    message(18, 11, '/a', '/b'),
    message(20, 12, '/a', '/b'),
    message(200, 13, 'hardlink@openssh.com', '/a', '/b'),
    message(200, 14, 'copy-data', 'h', 0n, 0n, 'h', 0n),
  ]),
  codec('server', [
    ...ANSWERED,
    status(3, 0),
    message(103, 4, string('data')),
    status(5, 4),
    message(104, 4, 0),
  ]),
]
