// The process under test of the snapshot bench: a proxy's trust, fed from NDJSON lines as control's watch sends them. Argument: the
// port that sends. Says, in milliseconds: the longest turn of the event loop, and the longest acceptance of one message.

import { once } from 'node:events'
import net from 'node:net'

import { readLines } from '../control/api/lines.ts'
import { systemClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import { silentLogger } from '../core/log.ts'
import type { SignedMessage } from '../core/snapshot-codec.ts'
import { Anchor } from '../workers/anchor.ts'
import { TrustFeed } from '../workers/trust-feed.ts'

type Line = Readonly<Record<'type' | 'body' | 'signature' | 'payload', string>>

const socket = net.connect(Number(process.argv[2]), '127.0.0.1')
await once(socket, 'connect')
const anchor = new Anchor({ saved: undefined, save: () => {}, onFork: () => {} })
let feed: TrustFeed | undefined
let longestTurnMs = 0
let longestAcceptMs = 0
let lastMs = performance.now()
// A turn that runs each millisecond: what keeps it from running is a block.
const beat = setInterval(() => {
  const nowMs = performance.now()
  longestTurnMs = Math.max(longestTurnMs, nowMs - lastMs - 1)
  lastMs = nowMs
}, 1)

function messageOf(line: Line): SignedMessage {
  const { type, body, signature, payload } = line
  if (type !== 'snapshot' && type !== 'locks' && type !== 'inventory') throw new Error(type)
  return {
    type,
    body: Buffer.from(body, 'base64'),
    signature: Buffer.from(signature, 'base64'),
    ...(payload === undefined ? {} : { payload: Buffer.from(payload, 'base64') }),
  }
}

for await (const text of readLines(socket, 2 * max('snapshotBytesMax'))) {
  const line = JSON.parse(text) as Line
  if (feed === undefined) {
    // The first line is the signer's key; what came before it does not count.
    feed = new TrustFeed({
      class: 'proxy',
      saved: { signers: [line.body], revision: 0, lockRevision: 0 },
      save: () => {},
      anchor,
      clock: systemClock,
      log: silentLogger,
      onChange: () => {},
      onRefused: ({ reason }) => {
        throw new Error(reason)
      },
    })
    longestTurnMs = 0
    continue
  }
  const startedMs = performance.now()
  feed.accept(messageOf(line), 'control')
  longestAcceptMs = Math.max(longestAcceptMs, performance.now() - startedMs)
}
await new Promise((resolve) => setTimeout(resolve, 20))
clearInterval(beat)
if (feed?.inventory?.byName('db', 'database-9999') === undefined) throw new Error('not received')
process.send?.([longestTurnMs, longestAcceptMs])
