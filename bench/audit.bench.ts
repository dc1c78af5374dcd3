// What one audited statement costs, part by part: hearing it, rendering its event, keeping it in the spool, reading it for an upload,
// taking it over in control. CPU of this process with its threads of the pool; the disk is the machine's own.

import { generateKeyPairSync, sign } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MessageChannel, receiveMessageOnPort } from 'node:worker_threads'

import { openAuditLog } from '../control/audit.ts'
import { systemClock } from '../core/clock.ts'
import type { SystemIdentity } from '../core/identity.ts'
import { max } from '../core/limits.ts'
import type { FromAuditQueue } from '../core/messages.ts'
import { postgres } from '../protocols/postgres/index.ts'
import { CLUSTER } from '../test/fixtures/certificates.ts'
import { message } from '../test/fake/postgres-bytes.ts'
import { AuditQueue } from '../workers/audit-queue.ts'
import { openSpool, type Spool } from '../workers/spool.ts'
import { StatementTap } from '../workers/statement-tap.ts'
import { systemTimers } from '../workers/timers.ts'
import { type Figure, median, round, type Scenario } from './scenario.ts'

const ROUNDS = 15
const STATEMENTS = 2000
const BUDGET_US = 8

export const audit: Scenario = { name: 'audit', run }

const COMMON = {
  user: 'alice@example.test',
  user_kind: 1,
  user_roles: ['access', 'developer'],
  db_service: 'orders',
  db_protocol: 'postgres',
  db_user: 'app',
  db_name: 'orders',
  db_labels: { env: 'prod', team: 'shop', region: 'eu-west' },
  sid: '01JDQ3Z8K1V5T4W8P6F0R2N7XM',
  server_id: 'agent-1',
  server_hostname: 'db-gateway-1.internal',
  proxy_id: 'b0a6e2f2-7d5b-4a3c-9a55-0d2a3f0f4c11',
  'addr.remote': '192.0.2.17:51234',
  'addr.trusted': true,
}

/** Bind, Execute, Sync and what the server answers, as pgbench's prepared mode has them. */
const PREPARED: readonly (readonly [code: number, body: Buffer])[] = [
  note('B', '\0P_0\0\0\0\0\x01\0\0\0\x0512345\0\0'),
  note('D', 'P\0'),
  note('E', '\0\0\0\0\0'),
  note('S', ''),
  note('2', '', 0x100),
  note('T', '\0\x01abalance\0\0\0\x40\x01\0\x03\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0', 0x100),
  note('C', 'SELECT 1\0', 0x100),
  note('Z', 'I', 0x100),
]
const READY: Notes = [note('Z', 'I', 0x100)]
const PARSE: Notes = [
  note('P', 'P_0\0SELECT abalance FROM pgbench_accounts WHERE aid = $1;\0\0\0'),
  note('S', ''),
  note('1', '', 0x100),
  note('Z', 'I', 0x100),
]

function note(type: string, body: string, base = 0): readonly [number, Buffer] {
  const bytes = message(type, Buffer.from(body, 'latin1'))
  return [(bytes[0] ?? 0) + base, bytes.subarray(5)]
}

type Notes = typeof PREPARED

async function run(): Promise<readonly Figure[]> {
  const folder = await mkdtemp(join(tmpdir(), 'sluice-bench-'))
  try {
    return await figures(folder)
  } finally {
    await rm(folder, { recursive: true })
  }
}

async function figures(folder: string): Promise<readonly Figure[]> {
  const options = {
    folder: join(folder, 'spool'),
    id: 'agent-1',
    cluster: CLUSTER,
    clock: systemClock,
  }
  const spool = await openSpool(options)
  const hearing = await hear()
  const { handing, batches } = await handOver()
  const keeping = await costOf(batches, (batch) => spool.keep(batch, 'strict'))
  const { reading, uploads } = await upload(spool)
  const taking = await takeOver(folder, uploads)
  await spool.close()
  const agent = handing + keeping + reading
  const unit = 'µs CPU per statement'
  const part = (name: string, value: number): Figure => ({ name, value: round(value), unit })
  return [
    {
      ...part(
        'heard, rendered, handed over, kept and read for upload: all of it at the agent',
        agent,
      ),
      budget: `≤ ${BUDGET_US} µs`,
      kept: agent <= BUDGET_US,
    },
    part('the observer alone', hearing),
    part('the tap: heard, rendered, gathered, sent to the main thread and received there', handing),
    part('the spool: chained, written, synced', keeping),
    part('read from the spool as a request body', reading),
    part('control: parsed, checked, chained, written, synced', taking),
  ]
}

function hear(): Promise<number> {
  const observer = postgres.observer?.(() => undefined)
  const say = (notes: Notes): void => {
    for (const [code, body] of notes) observer?.note(code, body, 0, body.length, 0, 0)
  }
  say([...READY, ...PARSE])
  return costOf(
    Array.from({ length: ROUNDS }, () => STATEMENTS),
    (count) => {
      for (let i = 0; i < count; i++) say(PREPARED)
    },
  )
}

/** A session's tap, its thread's queue, and a channel whose other end does what the main thread does. */
async function handOver(): Promise<{ handing: number; batches: string[][] }> {
  const { observer } = postgres
  if (observer === undefined) throw new Error('PostgreSQL has no observer')
  const { port1, port2 } = new MessageChannel()
  const queue: AuditQueue = new AuditQueue({
    clock: systemClock,
    timers: systemTimers,
    send: (sent) => port1.postMessage(sent),
    bytesMax: max('auditQueueBytesMax'),
  })
  const end = (): undefined => undefined
  const common = {
    fields: COMMON,
    cluster: CLUSTER,
    clock: systemClock,
    rule: 'best_effort',
  } as const
  const tap = new StatementTap({ ...common, observer, queue, end })
  const batches: string[][] = []
  const receive = (): void => {
    for (
      let got = receiveMessageOnPort(port2);
      got !== undefined;
      got = receiveMessageOnPort(port2)
    ) {
      const sent = got.message as FromAuditQueue
      if (sent.kind !== 'statements') continue
      batches.push(sent.bodies.split('\n'))
      queue.answered({ kind: 'statements-kept', id: sent.id, outcome: 'kept' })
    }
  }
  const say = (notes: Notes): void => {
    for (const [code, body] of notes)
      if (!tap.put(code, body, 0, body.length, 0)) throw new Error('the tap is full')
  }
  say([...READY, ...PARSE])
  const handing = await costOf(
    Array.from({ length: ROUNDS }, () => STATEMENTS),
    (count) => {
      for (let i = 0; i < count; i++) {
        say(PREPARED)
        if (i % 20 === 0) receive()
      }
      queue.flush()
      receive()
    },
  )
  port1.close()
  return { handing, batches }
}

async function upload(spool: Spool): Promise<{ reading: number; uploads: string[] }> {
  const uploads: Uint8Array[] = []
  let statements = 0
  const before = process.cpuUsage()
  await spool.drain((lines, count) => {
    uploads.push(lines)
    statements += count
    return Promise.resolve(statements)
  })
  const reading = microseconds(before) / statements
  return { reading, uploads: uploads.map((lines) => Buffer.from(lines).toString()) }
}

async function takeOver(folder: string, uploads: readonly string[]): Promise<number> {
  const { publicKey, privateKey } = generateKeyPairSync('ed25519')
  const log = await openAuditLog({
    folder: join(folder, 'log'),
    writer: 'control-1',
    cluster: CLUSTER,
    clock: systemClock,
    signer: {
      sign: (body) => Promise.resolve(sign(null, body, privateKey)),
      keys: () => [publicKey.export({ format: 'der', type: 'spki' })],
    },
  })
  const agent: SystemIdentity = {
    type: 'system',
    role: 'agent',
    id: 'agent-1',
    cluster: CLUSTER,
    services: ['db'],
    generation: 1,
  }
  const bodies = uploads.map((body) => body.split('\n'))
  const taking = await costOf(bodies, (lines) => log.ingest(agent, lines))
  await log.close()
  return taking
}

/** CPU per statement, threads of the pool included: the median over the loads. A load is a number of statements or a list. */
async function costOf<L extends number | readonly string[]>(
  loads: readonly L[],
  work: (load: L) => unknown,
): Promise<number> {
  const us: number[] = []
  for (const load of loads) {
    const before = process.cpuUsage()
    await work(load)
    us.push(microseconds(before) / (typeof load === 'number' ? load : load.length))
  }
  return median(us.slice(us.length >> 2))
}

function microseconds(before: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(before)
  return user + system
}
