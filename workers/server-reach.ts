// The way from a proxy to the SSH server that does a session's work: an agent of ours, which is told for whom inside mutual TLS and
// decides again, or a stock sshd, which is shown a certificate that control makes for this one login. Each host is verified by the CA
// of SSH hosts under the node's own name. It decides nothing: its caller holds the right.

import { generateKeyPairSync } from 'node:crypto'

import type { DialGuard } from '../core/agent-target.ts'
import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { Logger } from '../core/log.ts'
import type { Authorized } from '../core/login.ts'
import type {
  AgentResume,
  FromProxyWorker,
  OpenRequest,
  Source,
  SpareGrant,
} from '../core/messages.ts'
import type { ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import type { Snapshot, Target } from '../core/snapshot.ts'
import { publicBlob } from '../core/ssh/key.ts'
import type { SshServerAccess } from '../core/ssh/services.ts'
import { type Forward, forwardName } from '../core/tunnel/forward.ts'
import { AgentDial } from './agent-dial.ts'
import { lentStream } from './lent-stream.ts'
import { socketStream } from './socket-stream.ts'
import { dialTarget } from './target-dial.ts'
import type { Trust } from './trust.ts'

export interface ServerReachOptions {
  readonly cluster: string
  readonly trust: Trust
  readonly clock: Clock
  readonly log: Logger
  /** What addresses of servers without an agent must keep clear of. */
  readonly guard: DialGuard
  readonly session: number
  readonly sessionId: string
  readonly decisionId: string
  readonly source: Source
  readonly target: Target
  ask(question: ProxyQuestion): Promise<ProxyAnswer>
  send(message: FromProxyWorker): void
}

type Reached = Pick<SshServerAccess, 'stream' | 'key'>

export class ServerReach {
  readonly #options: ServerReachOptions
  #dial: AgentDial | undefined

  constructor(options: ServerReachOptions) {
    this.#options = options
  }

  /** Whose spare it has; empty: nobody's. */
  get agentId(): string {
    return this.#dial?.agentId ?? ''
  }

  /** Rejects with a sentence for the person. */
  async reach(
    right: Authorized,
    forward: Forward,
    snapshot: Snapshot,
    signal: AbortSignal,
  ): Promise<SshServerAccess> {
    const { address, ref } = right.target
    const within = AbortSignal.any([signal, AbortSignal.timeout(max('targetDialDeadlineMs'))])
    const reached =
      address === undefined
        ? await this.#agent(right, forward, snapshot, within)
        : await this.#stockServer(right, forward, address, within)
    return { kind: 'server', hostCas: snapshot.ssh?.host ?? [], hostName: ref.name, ...reached }
  }

  use(grant: SpareGrant, resume: AgentResume): boolean {
    this.#dial?.use(grant, resume)
    return this.#dial !== undefined
  }

  noSpare(): void {
    this.#dial?.noSpare()
  }

  async #agent(
    { target }: Authorized,
    forward: Forward,
    snapshot: Snapshot,
    signal: AbortSignal,
  ): Promise<Reached> {
    const { trust, clock, log, session, cluster } = this.#options
    const { host } = trust
    if (host === undefined) throw new ProxyError('dial.failed', 'this proxy has no certificate yet')
    const serverName = forwardName(target.ref, target.label, cluster)
    const send = (message: FromProxyWorker): void => this.#options.send(message)
    const dial: AgentDial = new AgentDial({
      open: this.#openRequest(serverName),
      forward,
      host,
      targetCas: snapshot.cas.target,
      clock,
      log,
      needSpare: (refused) =>
        send({
          kind: 'need-spare',
          session,
          agentId: dial.agentId,
          ...(refused === undefined ? {} : { refused }),
        }),
      accepted: () => send({ kind: 'accepted', session }),
      badAnswer: ({ agentId, spareId }, reason) =>
        send({ kind: 'bad-answer', agentId, spareId, reason }),
      keepSession: (agentId, epoch, bytes, fingerprint) =>
        send({
          kind: 'agent-tls-session',
          agentId,
          serverName,
          epoch,
          session: bytes,
          fingerprint,
        }),
    })
    this.#dial = dial
    return { stream: socketStream(await dial.start(signal)), key: undefined }
  }

  /** A key for this login alone, which control certifies for minutes. */
  async #stockServer(
    { target, access }: Authorized,
    { certificate }: Forward,
    address: string,
    signal: AbortSignal,
  ): Promise<Reached> {
    const { guard, session } = this.#options
    const key = generateKeyPairSync('ed25519').privateKey
    const answer = await this.#options.ask({
      what: 'openssh',
      target: target.ref,
      principal: access.principal,
      certificate,
      publicKey: publicBlob(key),
    })
    if (answer.what !== 'openssh') throw notCertified(answer)
    const at = address.lastIndexOf(':')
    const host = address.slice(0, at).replace(/^\[|\]$/g, '')
    const port = Number(address.slice(at + 1))
    const socket = await dialTarget({ ref: target.ref, host, port, guard }, signal)
    this.#options.send({ kind: 'accepted', session })
    return { stream: lentStream(socket).stream, key: { certificate: answer.certificate, key } }
  }

  #openRequest(serverName: string): OpenRequest {
    const { sessionId, decisionId, source, target } = this.#options
    return {
      mode: 'terminate',
      sessionId,
      decisionId,
      protocol: target.protocol,
      stage: '',
      target: target.ref,
      serverName,
      client: source,
      cancelHandle: 0,
    }
  }
}

function notCertified(answer: ProxyAnswer): ProxyError {
  if (answer.what !== 'no') return new ProxyError('dial.failed', 'control certified nothing')
  return new ProxyError(answer.kind === 'refused' ? 'policy.denied' : 'dial.failed', answer.message)
}
