// The sessions of one agent worker: from a spare's first bytes to the end. The open frame is checked before any byte of the
// client; a lock, an expiry or the drain ends sessions in their own protocol's words.

import { randomBytes } from 'node:crypto'
import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type {
  AgentAnswer,
  AgentQuestion,
  AgentTarget,
  FromAgentWorker,
  ToAgentWorker,
  ToAuditQueue,
} from '../core/messages.ts'
import {
  isGenerationStale,
  lockText,
  matchLock,
  sessionSubject,
  userGenerationKey,
} from '../core/policy/locks.ts'
import type { FramedProtocol, Protocol, Refusal } from '../core/protocol.ts'
import {
  type AgentRefusal,
  type AnswerTo,
  type OpenFrame,
  readOpen,
  writeAnswer,
} from '../core/tunnel/open.ts'
import { beaconAgeMs } from '../core/snapshot.ts'
import { newDecisionId } from '../core/ulid.ts'
import { AgentSession } from './agent-session.ts'
import { AuditQueue } from './audit-queue.ts'
import { pause } from './pause.ts'
import { adopt, lastWord } from './handover.ts'
import { runFramed } from './perform.ts'
import { systemTimers } from './timers.ts'
import { TlsServer, type TlsServerState } from './tls.ts'
import type { HostKeys, Trust } from './trust.ts'

export interface AgentSessionsOptions {
  readonly cluster: string
  readonly agentId: string
  readonly hostname: string
  readonly protocols: readonly Protocol[]
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  /** What statements of this thread may take until the disk holds them. */
  readonly auditBytesMax: number
  ask(question: AgentQuestion): Promise<AgentAnswer>
  send(message: FromAgentWorker): void
}

const LOGIN_AGAIN = 'Log in again: tsh login, then tsh db login.'
const ASK_ADMINISTRATOR = 'Ask an administrator: tctl get locks.'

type SpareMessage = Extract<ToAgentWorker, { kind: 'spare' }>

export class AgentSessions {
  readonly #options: AgentSessionsOptions
  readonly #live = new Set<AgentSession>()
  readonly #opening = new Set<net.Socket>()
  readonly #queue: AuditQueue
  #targets: ReadonlyMap<string, AgentTarget> = new Map()
  #keys: HostKeys | undefined
  #server: TlsServer | undefined
  #draining = false

  constructor(options: AgentSessionsOptions) {
    this.#options = options
    this.#queue = new AuditQueue({
      clock: options.clock,
      timers: systemTimers,
      send: (message) => options.send(message),
      bytesMax: options.auditBytesMax,
    })
    options.trust.onChange((what) => {
      if (what === 'locks') this.#enforceLocks()
      if (what === 'snapshot' || what === 'resumption-keys') this.#renewServer()
      if (what === 'beacon') this.#enforceStaleness()
    })
  }

  /** The spool's answer to statements of this thread. */
  kept(message: ToAuditQueue): void {
    this.#queue.answered(message)
  }

  get size(): number {
    return this.#live.size + this.#opening.size
  }

  /** The targets this agent owns now, and the certificate for their names. */
  serve(targets: readonly AgentTarget[], keys: HostKeys): void {
    this.#targets = new Map(
      targets.map((target) => [`${target.ref.kind}/${target.ref.name}`, target]),
    )
    this.#keys = keys
    this.#renewServer()
  }

  /** A spare whose first bytes have come. */
  take(message: SpareMessage): void {
    const spare = adopt(message.client)
    this.#opening.add(spare)
    let held: Uint8Array = message.first
    const deadline = setTimeout(() => give('no open frame in time'), max('handshakeDeadlineMs'))
    const leave = (): void => {
      clearTimeout(deadline)
      this.#opening.delete(spare)
      spare.removeAllListeners()
    }
    const give = (reason: string): void => {
      leave()
      spare.on('error', () => {})
      spare.destroy()
      this.#options.log.warn('spare refused', { reason, proxy: message.proxyId })
      this.#audit('spare.refused', 'SLL002W', {
        proxy_id: message.proxyId,
        spare_id: message.spareId,
        reason,
      })
    }
    const look = (): void => {
      const opened = {
        key: message.key,
        spareId: message.spareId,
        nowMs: this.#options.clock.now(),
      }
      const reading = readOpen(held, opened)
      if (reading.verdict === 'more') return
      if (reading.verdict === 'bad') return give(reading.code)
      if (reading.verdict === 'late') {
        leave()
        // Said, not closed: the proxy would try one spare after the other, and each would be late.
        const to = { spareId: message.spareId, sessionId: reading.frame.sessionId }
        return this.#answerNo(spare, message, to, 'expired')
      }
      const first = Uint8Array.from(held.subarray(reading.end))
      spare.pause()
      leave()
      this.#opened(spare, message, reading.frame, first)
    }
    spare.on('error', () => give('reset'))
    spare.on('end', () => give('ended'))
    spare.on('data', (chunk: Buffer) => {
      held = Buffer.concat([held, chunk])
      look()
    })
    look()
  }

  /** Lets sessions end until the deadline, then evicts the rest. */
  async drain(deadlineMs: number): Promise<void> {
    this.#draining = true
    const endMs = this.#options.clock.monotonic() + deadlineMs
    while (this.#live.size > 0 && this.#options.clock.monotonic() < endMs) await pause(100)
    for (const session of this.#live)
      session.evict(this.#refusal('unavailable', 'the agent is being restarted', 'Connect again.'))
    for (const socket of this.#opening) socket.destroy()
  }

  /** Ends everything at once; resolves when the connections are closed. */
  async stop(): Promise<void> {
    await this.drain(0)
    const endMs = this.#options.clock.monotonic() + max('socketsCloseMs')
    while (this.#live.size > 0 && this.#options.clock.monotonic() < endMs)
      await pause(max('lastFramesMs') / 10)
    await this.#server?.destroyAll()
    this.#queue.close()
  }

  #opened(spare: net.Socket, message: SpareMessage, frame: OpenFrame, first: Uint8Array): void {
    const { key, spareId } = message
    const target = this.#targets.get(`${frame.target.kind}/${frame.target.name}`)
    const protocol = this.#protocol(frame.protocol)
    const refused = this.#refuses(frame, target, protocol)
    const to = { spareId, sessionId: frame.sessionId }
    if (
      refused !== undefined ||
      target === undefined ||
      protocol === undefined ||
      this.#server === undefined
    ) {
      this.#answerNo(spare, message, to, refused ?? 'no-target')
      return
    }
    spare.write(writeAnswer(key, to, { kind: 'accept' }))
    this.#run(spare, message, frame, first, target, protocol, this.#server)
  }

  #answerNo(
    spare: net.Socket,
    { key, spareId, proxyId }: SpareMessage,
    to: AnswerTo,
    reason: AgentRefusal,
  ): void {
    // A proxy that holds its half open is not waited for.
    lastWord(spare, writeAnswer(key, to, { kind: 'refuse', reason, text: '' }))
    // A proxy asks for what this agent does not do only when it is mistaken or worse.
    if (reason !== 'drain')
      this.#audit('spare.refused', 'SLL002W', { proxy_id: proxyId, spare_id: spareId, reason })
  }

  /** The agent's own consent: its target, a mode and a protocol it serves. */
  #refuses(
    frame: OpenFrame,
    target: AgentTarget | undefined,
    protocol: FramedProtocol | undefined,
  ): AgentRefusal | undefined {
    if (target === undefined) return 'no-target'
    if (frame.mode === 'terminate') return 'mode'
    if (protocol === undefined || protocol.name !== target.protocol) return 'protocol'
    return this.#draining ? 'drain' : undefined
  }

  #run(
    spare: net.Socket,
    message: SpareMessage,
    frame: OpenFrame,
    first: Uint8Array,
    target: AgentTarget,
    protocol: FramedProtocol,
    tls: TlsServer,
  ): void {
    const session = new AgentSession({
      ...this.#options,
      frame,
      target,
      proxyId: message.proxyId,
      tls,
      protocol,
      queue: this.#queue,
    })
    this.#live.add(session)
    this.#options.send({ kind: 'session-opened' })
    const denial: Refusal | undefined =
      frame.mode === 'deny' ? { ...frame.denial, decisionId: frame.decisionId } : undefined
    const start = {
      stage: frame.stage,
      target: frame.target,
      first,
      ...(denial === undefined ? {} : { denial }),
    }
    const running = runFramed(protocol, spare, start, session)
    session.attach(running)
    void running.done.then((reason) => {
      this.#live.delete(session)
      session.ended(reason)
      this.#options.send({ kind: 'session-ended' })
    })
  }

  #protocol(name: string): FramedProtocol | undefined {
    const found = this.#options.protocols.find((protocol) => protocol.name === name)
    return found?.shape === 'framed' ? found : undefined
  }

  /** Ends every session that a lock in force matches, within the tick its set arrived in. */
  #enforceLocks(): void {
    const { trust, clock, agentId } = this.#options
    const lockSet = trust.snapshot?.lockSet
    if (lockSet === undefined) return
    for (const session of this.#live) {
      const { peer, right, frame, proxyId, keySha256 } = session
      if (peer === undefined) continue
      const { issuer, name, generation } = peer.identity
      if (isGenerationStale(lockSet, userGenerationKey(issuer, name), generation))
        session.evict(this.#refusal('lock', 'the credentials of this user were reset', LOGIN_AGAIN))
      const subject = sessionSubject(peer.identity, {
        kind: frame.target.kind,
        target: frame.target.name,
        principal: right?.access.principal ?? '',
        certificateSerial: peer.facts.serial,
        keySha256,
        serverIds: [agentId, proxyId],
      })
      const lock = matchLock(lockSet, subject, clock.now())
      if (lock !== undefined)
        session.evict(this.#refusal('lock', lockText(lock), ASK_ADMINISTRATOR))
    }
  }

  /** Strict locking does not outlive its knowledge: beyond the bound its sessions end. */
  #enforceStaleness(): void {
    const { trust, clock } = this.#options
    const { snapshot } = trust
    if (snapshot === undefined) return
    if (beaconAgeMs(snapshot.beaconAtMs, clock.now()) < max('stalenessMaxMs')) return
    for (const session of this.#live)
      if (session.right?.grant.lockMode === 'strict')
        session.evict(
          this.#refusal(
            'lock',
            'locks could not be refreshed for too long (strict locking)',
            'Try again when control is back.',
          ),
        )
  }

  /** Keys and snapshot come in any order; the server begins with the later of them. */
  #renewServer(): void {
    const state = this.#serverState()
    if (state === undefined) return
    if (this.#server !== undefined) return this.#server.replace(state)
    const alpn = this.#options.protocols.flatMap((protocol) => protocol.alpn)
    this.#server = new TlsServer({ purpose: 'user', alpn }, state)
  }

  #serverState(): TlsServerState | undefined {
    const { snapshot } = this.#options.trust
    const keys = this.#keys
    const ticketKeys = this.#options.trust.resumptionKeys('user')
    if (keys === undefined || snapshot === undefined || ticketKeys === undefined) return undefined
    return { ...keys, clientCas: snapshot.cas.user, trustRevision: snapshot.revision, ticketKeys }
  }

  #refusal(kind: Refusal['kind'], reason: string, next: string): Refusal {
    return {
      decisionId: newDecisionId(this.#options.clock.now(), randomBytes(10)),
      kind,
      reason,
      next,
    }
  }

  #audit(name: string, code: string, fields: Readonly<Record<string, unknown>>): void {
    this.#options.send({ kind: 'audit', name, code, fields })
  }
}
