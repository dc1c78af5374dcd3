// One client with the outer SSH of a jump (`ssh -J user@proxy login@node`) at a proxy's worker: it proves a login's SSH certificate to
// this proxy, asks for one node, and its inner SSH runs to the agent unread, exactly as behind the line of the other way in. Where SSH
// ends at proxies the inner one ends here, as if it had come by that line. Whoever names no node is told which there are for them.

import type net from 'node:net'

import { ProxyError } from '../core/errors.ts'
import { max } from '../core/limits.ts'
import type { RelayCounters } from '../core/messages.ts'
import type { Refusal } from '../core/protocol.ts'
import type { Target } from '../core/snapshot.ts'
import type { JumpServices, NodeList } from '../core/ssh/services.ts'
import type { ByteStream } from '../core/stream.ts'
import { serveJump } from '../protocols/registry.ts'
import { adopt } from './handover.ts'
import { identifySsh } from './identify-ssh.ts'
import { joined } from './joined.ts'
import { listNodes } from './node-list.ts'
import { sentenceOf, type Visitor } from './node-passage.ts'
import { lentStream } from './lent-stream.ts'
import { socketStream } from './socket-stream.ts'
import { systemTimers } from './timers.ts'
import { Visit, type VisitOptions } from './visit.ts'

export interface JumpOptions extends VisitOptions {
  /** `host:port` of this proxy, as clients name it. */
  readonly publicAddress: string
}

const ONE_NODE = 'one connection of this kind leads to one node: connect again for another'

export class Jump {
  readonly visit: Visit
  readonly #options: JumpOptions
  readonly #ending = new AbortController()
  #client: net.Socket | undefined
  #node: net.Socket | undefined
  /** The end of the inner SSH, where it ends here. */
  #served: Promise<string> | undefined
  #asked = false
  /** A key was shown that proved nothing. */
  #unproved = false

  constructor(options: JumpOptions) {
    this.#options = options
    this.visit = new Visit(options, (refusal) => this.#evict(refusal))
  }

  /** Resolves with the reason when it is over, and never rejects. */
  async run(): Promise<{ readonly reason: string; readonly counters: RelayCounters }> {
    const { message, trust, log } = this.#options
    const { stream: outer, connection: client } = lentStream(adopt(message.client, message.first))
    this.#client = client
    if (trust.sshHost.length > 0)
      await serveJump(outer, this.#services(), this.#ending.signal).catch((error: unknown) =>
        log.debug('a jump failed', { error: String(error) }),
      )
    const { visit } = this
    visit.close()
    // Once for a connection, however often it tried; whoever was let in after all is known.
    if (this.#unproved && visit.visitor === undefined)
      visit.passage.stranger({ reason: 'it proved no certificate' })
    this.#node?.destroy()
    client.destroy()
    await this.#served
    const counters = visit.stream?.counters ?? {
      fromClientBytes: this.#node?.bytesWritten ?? 0,
      fromTargetBytes: this.#node?.bytesRead ?? 0,
    }
    visit.passage.ended('closed', counters)
    return { reason: 'closed', counters }
  }

  abandon(): void {
    this.#client?.destroy()
  }

  /** Whoever has the inner SSH says why there; the outer line is ended a moment later. */
  #evict(refusal: Refusal): void {
    const { stream, deadlines, giveUp } = this.visit
    giveUp.abort()
    const end = (): void => this.#ending.abort(sentenceOf(refusal))
    stream?.evict(refusal)
    const inside = stream ?? (refusal.kind === 'lock' ? this.#node : undefined)
    if (inside === undefined) end()
    else deadlines.after('farewell', max('lockFarewellMs'), end)
  }

  #services(): JumpServices {
    return {
      timers: systemTimers,
      hostKeys: this.#options.trust.sshHost,
      admit: (certificate) => Promise.resolve(this.#admit(certificate)),
      unproved: () => {
        this.#unproved = true
      },
      open: (node) => this.#open(node),
      list: () => this.#list(),
    }
  }

  #admit(certificate: Uint8Array): string | undefined {
    const { trust, cluster, clock, message } = this.#options
    const { decisionId } = this.visit.passage
    const context = { cluster, nowMs: clock.now(), decisionId, client: message.source }
    const known = this.visit.admit(identifySsh(certificate, trust.snapshot, context))
    return 'reason' in known ? sentenceOf(known) : undefined
  }

  async #open(node: string): Promise<ByteStream> {
    const visitor = this.#visitor()
    if (this.#asked) throw new ProxyError('limit.exceeded', ONE_NODE)
    this.#asked = true
    const target = await this.visit.find(visitor, node.slice(0, max('nameLengthMax')))
    if ('reason' in target) throw new ProxyError('policy.denied', sentenceOf(target))
    if (this.visit.endsHere(target)) return this.#end(visitor, target)
    const { signal } = this.visit.giveUp
    const within = AbortSignal.any([signal, AbortSignal.timeout(max('handshakeDeadlineMs'))])
    const { socket, rest } = await this.visit.passage.open(visitor, target, within)
    const { stream, connection } = lentStream(socket)
    this.#node = connection
    // Not back into the socket: one that lost all its listeners forgets what it is given between two of its owners.
    if (rest.length > 0) stream.unread(rest)
    return stream
  }

  /** The inner SSH ends here. */
  #end(visitor: Visitor, target: Target): ByteStream {
    const [outside, inside] = joined()
    this.#served = this.visit.end(visitor, target).run(inside)
    return socketStream(outside)
  }

  async #list(): Promise<NodeList> {
    const visitor = this.#visitor()
    // They may have stood here for long.
    const no = this.visit.passage.refuses(visitor)
    if (no !== undefined) throw new ProxyError('policy.denied', sentenceOf(no))
    const { message, publicAddress, ...rest } = this.#options
    return await listNodes({ ...rest, visitor, session: message.session, via: publicAddress })
  }

  #visitor(): Visitor {
    const { visitor } = this.visit
    if (visitor === undefined) throw new ProxyError('protocol.violation', 'nobody is known')
    return visitor
  }
}
