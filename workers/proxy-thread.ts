// A proxy's worker thread: relays sessions and connections to control, ends the TLS of agents' links, of browsers and of clients in
// terminate mode. Holds no inventory and no ticket key; what it may do with a connection comes with the message that brought it.

import type { DialGuard } from '../core/agent-target.ts'
import { systemClock } from '../core/clock.ts'
import { max } from '../core/limits.ts'
import type {
  FromProxyWorker,
  SocketHandle,
  Source,
  ToProxyWorker,
  TrustMessage,
} from '../core/messages.ts'
import type { ProxyAnswer, ProxyQuestion } from '../core/questions.ts'
import type { StreamingProtocol } from '../core/protocol.ts'
import { LINK_ALPN } from '../core/tunnel/link.ts'
import { protocols } from '../protocols/registry.ts'
import { AuditQueue } from './audit-queue.ts'
import { relayToControl } from './control-relay.ts'
import { type ApiReply, Front, type Page } from './front.ts'
import { adopt } from './handover.ts'
import { type Admission, admitHost } from './host-peer.ts'
import { LinkProxy } from './link-proxy.ts'
import { pause } from './pause.ts'
import type { Relay } from './relay.ts'
import { RelaySession } from './relay-session.ts'
import { Recorders } from './recorders.ts'
import { SignalSessions } from './signal-sessions.ts'
import { TerminatedSessions } from './terminated-sessions.ts'
import { threadLogger } from './thread-log.ts'
import { threadPort } from './thread-port.ts'
import { systemTimers } from './timers.ts'
import { TlsServer, type TlsServerState, tlsSelfTest } from './tls.ts'
import { type HostKeys, isTrustMessage, Trust } from './trust.ts'
import { WaysIn } from './ways-in.ts'

/** What main gives the thread at its start. */
export interface ProxyThreadData {
  readonly cluster: string
  readonly proxyId: string
  readonly publicAddress: string
  readonly controlAddresses: readonly { readonly host: string; readonly port: number }[]
  readonly front: HostKeys
  readonly pages: ReadonlyMap<string, Page>
  readonly gateway: readonly { readonly method: string; readonly path: RegExp }[]
  readonly trust: readonly TrustMessage[]
  /** What addresses of servers without an agent must keep clear of. */
  readonly guard: DialGuard
  /** What statements of this thread may take until the disk holds them. */
  readonly auditBytesMax: number
}

const port = threadPort<ToProxyWorker, FromProxyWorker>()
const data = port.data as ProxyThreadData
const log = threadLogger('proxy', port.slot)
const trust = new Trust()
const sessions = new Map<number, RelaySession>()
const signals = new SignalSessions(systemClock)
const controls = new Map<number, Relay>()
const questions = new Map<number, (answer: ProxyAnswer) => void>()
const asked = new Map<number, (reply: ApiReply) => void>()
let asks = 0
let frontKeys = data.front

for (const message of data.trust) trust.apply(message)

const frontTls = new TlsServer({ purpose: 'front', alpn: ['http/1.1'] }, frontState())
const front = new Front({
  pages: data.pages,
  gateway: data.gateway,
  origin: `https://${data.publicAddress.replace(/:443$/, '')}`,
  call: askControl,
  log,
})
const linkTls = new TlsServer({ purpose: 'link', alpn: [LINK_ALPN] }, linkState())
const links = new LinkProxy({
  proxyId: data.proxyId,
  clock: systemClock,
  timers: systemTimers,
  log,
  admit: admitAgent,
  report: (message) => port.send(message),
})

const queue = new AuditQueue({
  clock: systemClock,
  timers: systemTimers,
  send: (message) => port.send(message),
  bytesMax: data.auditBytesMax,
})
const recorders = new Recorders({
  clock: systemClock,
  timers: systemTimers,
  // The bytes of a chunk are its own buffer.
  send: (message) => port.send(message, [message.bytes.buffer]),
})
const terminated = new TerminatedSessions({
  cluster: data.cluster,
  proxyId: data.proxyId,
  protocols,
  trust,
  clock: systemClock,
  log,
  queue,
  recorders,
  signals,
  ask: askMain,
  send: (message) => port.send(message),
})
const waysIn = new WaysIn({
  proxied: { protocol: sshProtocol(), queue, recorders, guard: data.guard },
  cluster: data.cluster,
  proxyId: data.proxyId,
  publicAddress: data.publicAddress,
  trust,
  clock: systemClock,
  log,
  ask: askMain,
  send: (message) => port.send(message),
})

trust.onChange((what) => {
  if (what === 'beacon') return
  if (what === 'resumption-keys') frontTls.replace(frontState())
  linkTls.replace(linkState())
  links.recheck()
})

port.onMessage((message) => {
  if (isTrustMessage(message)) return trust.apply(message)
  switch (message.kind) {
    case 'relay':
      return openRelay(message)
    case 'spare':
      return useSpare(message)
    case 'no-spare':
      terminated.noSpare(message.session)
      waysIn.noSpare(message.session)
      return sessions.get(message.session)?.noSpare()
    case 'terminate':
      return terminated.open(message)
    case 'way-in':
      return waysIn.open(message)
    case 'statements-kept':
      return queue.answered(message)
    case 'recording-kept':
      return recorders.kept(message)
    case 'told':
      questions.get(message.id)?.(message.answer)
      questions.delete(message.id)
      return
    case 'control':
      void openControl(message.session, message.client, message.first)
      return
    case 'link':
      void openLink(message.client, message.first, message.source)
      return
    case 'front':
      void openFront(message.client, message.first)
      return
    case 'answer':
      asked.get(message.id)?.({ status: message.status, body: message.body })
      return
    case 'front-keys':
      frontKeys = { certificate: message.certificate, key: message.key }
      return frontTls.replace(frontState())
    case 'signal': {
      const { id, key } = message
      const hit = signals.signal(key, message)
      return port.send({ kind: 'signal-answer', id, hit })
    }
    case 'to-agent':
      return links.send(message.agentId, message.frame)
    case 'cut-agent':
      return links.cut(message.agentId, message.reason)
    case 'cut-sessions':
      for (const session of message.sessions) sessions.get(session)?.cut(message.reason)
      return
    case 'drain':
  }
})

port.onStop(async () => {
  for (const session of sessions.values()) session.cut('the proxy stops')
  for (const running of controls.values()) running.abort('the proxy stops')
  await Promise.all([terminated.stop(), waysIn.stop()])
  queue.close()
  recorders.close()
  links.close()
  front.close()
  await pause(max('lastFramesMs'))
  await Promise.all([linkTls.destroyAll(), frontTls.destroyAll()])
})

await tlsSelfTest()
port.ready()

function sshProtocol(): StreamingProtocol {
  const ssh = protocols.find(({ name }) => name === 'ssh')
  if (ssh?.shape !== 'streaming') throw new Error('SSH is a row of the registry')
  return ssh
}

function openRelay(message: Extract<ToProxyWorker, { kind: 'relay' }>): void {
  const { session: number, client, first, open, agentId, spare } = message
  const session = new RelaySession({
    client,
    first,
    open,
    clock: systemClock,
    log,
    needSpare: (refused) =>
      port.send({
        kind: 'need-spare',
        session: number,
        agentId,
        ...(refused === undefined ? {} : { refused }),
      }),
    accepted: () => port.send({ kind: 'accepted', session: number }),
    badAnswer: ({ agentId: from, spareId }, reason) =>
      port.send({ kind: 'bad-answer', agentId: from, spareId, reason }),
    ended: (reason, counters) => {
      sessions.delete(number)
      port.send({ kind: 'ended', session: number, reason, counters })
    },
  })
  sessions.set(number, session)
  if (spare !== undefined) session.use(spare)
}

function useSpare(message: Extract<ToProxyWorker, { kind: 'spare' }>): void {
  if (terminated.use(message) || waysIn.use(message)) return
  const session = sessions.get(message.session)
  if (session === undefined) adopt(message.spare.handle).destroy()
  else session.use(message.spare)
}

async function openControl(number: number, client: SocketHandle, first: Uint8Array): Promise<void> {
  const { reason } = await relayToControl(client, first, data.controlAddresses, (running) =>
    controls.set(number, running),
  )
  controls.delete(number)
  log.debug('connection to control ended', { reason })
}

async function openLink(client: SocketHandle, first: Uint8Array, source: Source): Promise<void> {
  try {
    const secured = await linkTls.accept(adopt(client), first)
    links.accept(secured, source)
  } catch (error) {
    log.debug('no link handshake', { error: String(error), from: source.address })
  }
}

async function openFront(client: SocketHandle, first: Uint8Array): Promise<void> {
  try {
    const secured = await frontTls.accept(adopt(client), first, { alpnOptional: true })
    front.accept(secured.socket)
  } catch (error) {
    log.debug('no browser handshake', { error: String(error) })
  }
}

function askControl(method: string, path: string, body: string): Promise<ApiReply> {
  const id = ++asks
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      asked.delete(id)
      reject(new Error('control did not answer in time'))
    }, max('apiDeadlineMs'))
    asked.set(id, (reply) => {
      clearTimeout(timer)
      asked.delete(id)
      resolve(reply)
    })
    port.send({ kind: 'ask', id, method, path, body })
  })
}

/** Main always answers: its own calls have deadlines. */
function askMain(question: ProxyQuestion): Promise<ProxyAnswer> {
  const id = ++asks
  return new Promise((resolve) => {
    questions.set(id, resolve)
    port.send({ kind: 'question', id, question })
  })
}

function admitAgent(chain: readonly Uint8Array[]): Admission {
  const { snapshot } = trust
  if (snapshot === undefined)
    return {
      ok: false,
      code: 'control.unavailable',
      reason: 'This proxy has not heard of control yet.',
    }
  return admitHost(chain, { role: 'agent', purpose: 'client' }, snapshot, systemClock.now())
}

function frontState(): TlsServerState {
  return { ...frontKeys, clientCas: [], trustRevision: 0, ticketKeys: keysOf('front') }
}

function linkState(): TlsServerState {
  const { host, snapshot } = trust
  if (host === undefined) throw new Error('a worker thread starts with this proxy’s certificate')
  return {
    ...host,
    clientCas: snapshot?.cas.host ?? [],
    trustRevision: snapshot?.revision ?? 0,
    ticketKeys: keysOf('link'),
  }
}

function keysOf(purpose: string): Uint8Array {
  const keys = trust.resumptionKeys(purpose)
  if (keys === undefined) throw new Error('a worker thread starts with its resumption keys')
  return keys
}
