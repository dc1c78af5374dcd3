// Scripts of PostgreSQL: what real clients and servers said to each other (protocols/postgres/vectors), with the events that a
// performer adds around it.

import { ProxyError } from '../../core/errors.ts'
import type { SessionEvent, StoredPassword, TargetLogin } from '../../core/protocol.ts'
import { postgres } from '../../protocols/postgres/index.ts'
import type { FramedScripts, Script } from '../contract.ts'
import type { Step } from '../fake/rig.ts'
import { type Recorded, readVector } from '../fake/vectors.ts'
import { peer, right, target } from './people.ts'

export const VECTORS = [
  'psql15-pg15-simple',
  'psql15-pg15-copy',
  'psql15-pg15-no-such-role',
  'psql15-pg18-listen',
  'psql15-pg18-large-object',
  'pgbench15-pg15-prepared',
  'libpq18-pg15-negotiate',
  'libpq18-pg18-protocol32',
  'pg_recvlogical15-pg15-replication',
] as const

export function vector(name: (typeof VECTORS)[number] | 'psql15-pg15-scram'): Recorded[] {
  return readVector(
    new URL(`../../protocols/postgres/vectors/${name}.txt`, import.meta.url),
  ).filter(({ name: message }) => message !== 'SSLRequest' && message !== 'answer N')
}

/** Neighbours from one side arrive together, as they do from a real server. */
export function together(recorded: readonly Recorded[]): Step[] {
  const steps: { from: Recorded['from']; bytes: Buffer }[] = []
  for (const { from, bytes } of recorded) {
    const last = steps.at(-1)
    if (last?.from === from) last.bytes = Buffer.concat([last.bytes, bytes])
    else steps.push({ from, bytes })
  }
  return steps
}

const event = (event: SessionEvent): Step => ({ event })

export const start: Step = event({ kind: 'start', stage: 'ssl', target, nowMs: 0 })
export const secured: Step = event({ kind: 'tls', side: 'client', peer })
export const allowed: readonly Step[] = [
  event({ kind: 'authorized', right }),
  event({ kind: 'connected' }),
]

/** The steps of a recorded session, from TLS to both ends' goodbye. */
export function sessionSteps(recorded: readonly Recorded[]): Step[] {
  const [startup, ...rest] = recorded
  if (startup?.from !== 'client') throw new ProxyError('protocol.violation', 'no start-up recorded')
  return [
    start,
    secured,
    { from: 'client', bytes: startup.bytes },
    ...allowed,
    ...together(rest),
    event({ kind: 'ended', side: 'client' }),
    event({ kind: 'ended', side: 'target' }),
  ]
}

export function loginOf(
  opening: Uint8Array,
  tls: TargetLogin['tls'] = 'verify-full',
  stored?: StoredPassword,
): TargetLogin {
  const random = new Uint8Array(32)
  const login = { right, opening, certificate: true, tls, servername: 'db.internal', random }
  return stored === undefined ? login : { ...login, stored }
}

/** A session that cancel requests reach: the client is shown a key of ours. */
function keyed(name: (typeof VECTORS)[number]): Script {
  const signal = { handle: 0x12345678, secret: Uint8Array.from({ length: 32 }, (_, i) => i) }
  const named = event({ kind: 'start', stage: 'ssl', target, nowMs: 0, signal })
  const steps = [named, ...sessionSteps(vector(name)).slice(1)]
  return { name: `${name}, with a key of ours`, open: () => postgres.session(), steps }
}

/** A server is told its own key, and hangs up. */
function cancel(): Script {
  const key = Uint8Array.from({ length: 8 }, (_, i) => i)
  return {
    name: 'a cancel request',
    open: () => postgres.signal?.(loginOf(new Uint8Array(0)), key) ?? postgres.session(),
    steps: [
      start,
      { from: 'target', bytes: Buffer.from('S') },
      event({ kind: 'tls', side: 'target' }),
      event({ kind: 'ended', side: 'target' }),
    ],
  }
}

/** What the server said before the client's first message. */
function agentSteps(recorded: readonly Recorded[]): Step[] {
  const said = recorded.slice(1)
  const until = said.findIndex(({ from }) => from === 'client')
  return [
    start,
    { from: 'target', bytes: Buffer.from('S') },
    event({ kind: 'tls', side: 'target' }),
    ...together(said.slice(0, until < 0 ? said.length : until)),
  ]
}

function session(name: (typeof VECTORS)[number]): Script {
  return { name, open: () => postgres.session(), steps: sessionSteps(vector(name)) }
}

function agent(name: Parameters<typeof vector>[0]): Script {
  const recorded = vector(name)
  const opening = recorded[0]?.bytes ?? Buffer.alloc(0)
  const open = (): ReturnType<typeof postgres.agent> => postgres.agent(loginOf(opening))
  return { name: `login of ${name}`, open, steps: agentSteps(recorded) }
}

/** A COPY row that stops inside. */
function unfinished(): Script {
  const steps = sessionSteps(vector('psql15-pg15-copy')).slice(0, 7)
  const row = Buffer.from('64000000203131', 'hex')
  const stopped: Step = { from: 'target', bytes: row, deaf: true }
  return { name: 'inside a row', open: () => postgres.session(), steps: [...steps, stopped] }
}

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex')

export const postgresScripts: FramedScripts = {
  firsts: [
    { bytes: hex('00000008 04d2162f'), verdict: 'answer' },
    { bytes: hex('00000008 04d21630'), verdict: 'answer' },
    { bytes: hex('00000010 04d2162e 00000007 01020304'), verdict: 'signal' },
    { bytes: Buffer.concat([hex('0000002c 04d2162e'), Buffer.alloc(36)]), verdict: 'signal' },
    { bytes: Buffer.concat([hex('0000010c 04d2162e'), Buffer.alloc(260)]), verdict: 'signal' },
    // Bytes stuffed behind a request, before it was answered.
    { bytes: hex('00000008 04d2162f 16'), verdict: 'no' },
    { bytes: hex('00000008 04d21630 00000008 04d2162f'), verdict: 'no' },
    { bytes: hex('00000010 04d2162e 00000007 01020304 00'), verdict: 'no' },
    // Lengths that do not fit the request.
    { bytes: hex('00000009 04d2162f'), verdict: 'no' },
    { bytes: hex('0000000f 04d2162e 00000007 010203'), verdict: 'no' },
    { bytes: hex('0000010d 04d2162e'), verdict: 'no' },
    { bytes: hex('7fffffff 04d2162e'), verdict: 'no' },
    // A start-up in clear, TLS, SSH, HTTP.
    { bytes: hex('00000037 00030000'), verdict: 'no' },
    { bytes: hex('16030100'), verdict: 'no' },
    { bytes: Buffer.from('SSH-2.0'), verdict: 'no' },
    { bytes: Buffer.from('GET'), verdict: 'no' },
    { bytes: hex('0000000804d3'), verdict: 'no' },
  ],
  sessions: [...VECTORS.map(session), keyed('libpq18-pg18-protocol32'), unfinished()],
  agents: [
    agent('psql15-pg15-simple'),
    agent('psql15-pg15-no-such-role'),
    agent('libpq18-pg15-negotiate'),
    agent('psql15-pg15-scram'),
    cancel(),
  ],
  heard,
}

/** psql prints M of an ErrorResponse: the last message, whole, FATAL. */
function heard(written: Buffer, decisionId: string): boolean {
  let last: Buffer = Buffer.alloc(0)
  for (let at = 0; at < written.length; at += last.length) {
    const length = at + 5 <= written.length ? 1 + written.readUInt32BE(at + 1) : 0
    if (length < 5 || at + length > written.length) return false
    last = written.subarray(at, at + length)
  }
  const fields = last.toString('utf8', 5).split('\0')
  const message = fields.find((field) => field.startsWith('M')) ?? ''
  return last[0] === 0x45 && fields.includes('VFATAL') && message.includes(decisionId)
}
