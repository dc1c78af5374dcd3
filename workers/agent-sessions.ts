// The sessions of one agent worker: from a spare's first bytes to the end. The open frame is checked before any byte of the
// client; a lock, an expiry or the drain ends sessions in their own protocol's words.

import type net from 'node:net'

import type { Clock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { AgentTarget, ServedTarget } from '../core/agent-target.ts'
import type { FromAgentWorker, ToAgentWorker, ToAuditQueue, ToRecorder } from '../core/messages.ts'
import type { AgentAnswer, AgentQuestion } from '../core/questions.ts'
import { modeInForce, type SessionMode } from '../core/login.ts'
import type { FramedProtocol, Protocol, Refusal } from '../core/protocol.ts'
import { forwardName, SESSION_ALPN } from '../core/tunnel/forward.ts'
import {
  type AgentRefusal,
  type AnswerTo,
  type OpenFrame,
  readOpen,
  writeAnswer,
} from '../core/tunnel/open.ts'
import { AgentSession } from './agent-session.ts'
import type { AgentNode } from './agent-node.ts'
import { AgentStream } from './agent-stream.ts'
import { AuditQueue } from './audit-queue.ts'
import { adopt, lastWord, unhear } from './handover.ts'
import { LiveSessions } from './live-sessions.ts'
import { runFramed } from './perform.ts'
import { Recorders } from './recorders.ts'
import { type SignalFrom, SignalSessions } from './signal-sessions.ts'
import { systemTimers } from './timers.ts'
import { TlsServer, type TlsServerOptions } from './tls.ts'
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
  /** What this machine is as a node; absent: it is none. */
  readonly node?: AgentNode
  ask(question: AgentQuestion): Promise<AgentAnswer>
  send(message: FromAgentWorker): void
}

/** A spare that was opened, and what was found for it. */
interface Opened {
  readonly message: SpareMessage
  readonly frame: OpenFrame
  readonly first: Uint8Array
  readonly target: ServedTarget
}

type SpareMessage = Extract<ToAgentWorker, { kind: 'spare' }>

export class AgentSessions {
  readonly #options: AgentSessionsOptions
  readonly #live: LiveSessions<AgentSession | AgentStream>
  readonly #opening = new Set<net.Socket>()
  readonly #queue: AuditQueue
  readonly #signals: SignalSessions
  readonly #recorders: Recorders
  #targets: ReadonlyMap<string, ServedTarget> = new Map()
  #keys: HostKeys | undefined
  /** One per mode: another CA, other ALPN names, no session of the one resumes at the other. */
  readonly #servers: { relay?: TlsServer; terminate?: TlsServer } = {}
  #draining = false

  constructor(options: AgentSessionsOptions) {
    this.#options = options
    this.#queue = new AuditQueue({
      clock: options.clock,
      timers: systemTimers,
      send: (message) => options.send(message),
      bytesMax: options.auditBytesMax,
    })
    this.#live = new LiveSessions({ trust: options.trust, clock: options.clock, host: 'agent' })
    this.#signals = new SignalSessions(options.clock)
    this.#recorders = new Recorders({
      clock: options.clock,
      timers: systemTimers,
      send: (message) => options.send(message),
    })
    options.trust.onChange((what) => {
      if (what === 'snapshot' || what === 'resumption-keys') this.#renewServers()
    })
  }

  /** The spool's answer to statements of this thread. */
  kept(message: ToAuditQueue): void {
    this.#queue.answered(message)
  }

  /** The disk's answer to a chunk of a recording. */
  recorded(message: ToRecorder): void {
    this.#recorders.kept(message)
  }

  get size(): number {
    return this.#live.size + this.#opening.size
  }

  /** The targets this agent owns now, and the certificate for their names. */
  serve(targets: readonly ServedTarget[], keys: HostKeys): void {
    this.#targets = new Map(
      targets.map((target) => [`${target.ref.kind}/${target.ref.name}`, target]),
    )
    this.#keys = keys
    this.#renewServers()
  }

  /** A message for a live session; true when it is one of ours and was told. `from`: where it came from. */
  signal(key: Uint8Array, from: SignalFrom): boolean {
    return this.#signals.signal(key, from)
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
      unhear(spare)
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
    await this.#live.drain(deadlineMs)
    for (const socket of this.#opening) socket.destroy()
  }

  /** Ends everything at once; resolves when the connections are closed. */
  async stop(): Promise<void> {
    await this.drain(0)
    await this.#live.gone()
    await Promise.all([this.#servers.relay?.destroyAll(), this.#servers.terminate?.destroyAll()])
    this.#queue.close()
    this.#recorders.close()
  }

  #opened(spare: net.Socket, message: SpareMessage, frame: OpenFrame, first: Uint8Array): void {
    const target = this.#targets.get(`${frame.target.kind}/${frame.target.name}`)
    const protocol = this.#protocol(frame.protocol)
    const refused = this.#refuses(frame, target, protocol)
    const to = { spareId: message.spareId, sessionId: frame.sessionId }
    const begin =
      refused !== undefined || target === undefined || protocol === undefined
        ? undefined
        : this.#beginning({ message, frame, first, target }, protocol)
    if (begin === undefined) {
      this.#answerNo(spare, message, to, refused ?? 'no-target')
      return
    }
    spare.write(writeAnswer(message.key, to, { kind: 'accept' }))
    begin(spare)
  }

  /** Undefined while there is nothing yet to prove this agent with. */
  #beginning(opened: Opened, protocol: Protocol): ((spare: net.Socket) => void) | undefined {
    const tls = this.#servers[opened.frame.mode === 'terminate' ? 'terminate' : 'relay']
    if (protocol.shape === 'framed') {
      const { target } = opened
      if (tls === undefined || target.host === undefined) return undefined
      return (spare) => this.#run(spare, { ...opened, target }, protocol, tls)
    }
    const { node } = this.#options
    const hostKeys = node?.hostKeys() ?? []
    if (node === undefined || hostKeys.length === 0) return undefined
    const common = { ...this.#options, ...opened, proxyId: opened.message.proxyId }
    const kept = { recorders: this.#recorders, queue: this.#queue }
    const options = { ...common, ...kept, ...node, protocol, tls, hostKeys }
    return (spare) => this.#stream(spare, opened.first, new AgentStream(options))
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
    target: ServedTarget | undefined,
    protocol: Protocol | undefined,
  ): AgentRefusal | undefined {
    if (target === undefined) return 'no-target'
    // A denial of the proxy's is said by the agent where only the agent can be heard; SSH hears its proxy.
    if (frame.mode === 'deny' && protocol?.shape === 'streaming') return 'mode'
    if (frame.mode === 'terminate') {
      const { cluster, trust } = this.#options
      const config = trust.snapshot?.config
      // By its own snapshot: a proxy must not choose to read what the cluster relays.
      if (config === undefined || modeInForce(config) !== 'terminate') return 'mode'
      if (frame.serverName !== forwardName(target.ref, target.label, cluster)) return 'no-target'
    }
    if (protocol === undefined || protocol.name !== target.protocol) return 'protocol'
    return this.#draining ? 'drain' : undefined
  }

  #run(
    spare: net.Socket,
    { message, frame, first, target }: Opened & { readonly target: AgentTarget },
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
      signals: this.#signals,
      recorders: this.#recorders,
    })
    this.#begun(session)
    const denial: Refusal | undefined =
      frame.mode === 'deny' ? { ...frame.denial, decisionId: frame.decisionId } : undefined
    const start = {
      stage: frame.stage,
      target: frame.target,
      first,
      signalHandle: frame.cancelHandle,
      ...(denial === undefined ? {} : { denial }),
    }
    const running = runFramed(protocol, spare, start, session)
    session.attach(running)
    void running.done.then((reason) => {
      session.ended(reason)
      this.#over(session)
    })
  }

  #stream(spare: net.Socket, first: Uint8Array, session: AgentStream): void {
    this.#begun(session)
    void session.run(spare, first).then(() => this.#over(session))
  }

  #begun(session: AgentSession | AgentStream): void {
    this.#live.add(session)
    this.#options.send({ kind: 'session-opened' })
  }

  #over(session: AgentSession | AgentStream): void {
    this.#live.delete(session)
    this.#options.send({ kind: 'session-ended' })
  }

  #protocol(name: string): Protocol | undefined {
    return this.#options.protocols.find((protocol) => protocol.name === name)
  }

  /** Keys and snapshot come in any order; the servers begin with the later of them. */
  #renewServers(): void {
    const { protocols, trust } = this.#options
    const cas = trust.snapshot?.cas
    const alpn = protocols.flatMap((protocol) => protocol.alpn)
    this.#renew('relay', { purpose: 'user', alpn }, cas?.user)
    this.#renew('terminate', { purpose: 'session', alpn: [SESSION_ALPN] }, cas?.host)
  }

  #renew(
    mode: SessionMode,
    options: TlsServerOptions,
    clientCas: readonly Uint8Array[] | undefined,
  ): void {
    const keys = this.#keys
    const { snapshot } = this.#options.trust
    const ticketKeys = this.#options.trust.resumptionKeys(options.purpose)
    if (keys === undefined || snapshot === undefined || ticketKeys === undefined) return
    if (clientCas === undefined) return
    const state = { ...keys, clientCas, trustRevision: snapshot.revision, ticketKeys }
    const server = this.#servers[mode]
    if (server === undefined) this.#servers[mode] = new TlsServer(options, state)
    else server.replace(state)
  }

  #audit(name: string, code: string, fields: Readonly<Record<string, unknown>>): void {
    this.#options.send({ kind: 'audit', name, code, fields })
  }
}
