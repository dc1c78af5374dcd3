// What the audit log hears of one session, from its constant facts: that it began or was refused, that it ended, what its protocol
// reports. Who tells which story is fixed by decision 0005: the end that reads the session tells `db.session.*`, an agent behind a
// terminating proxy tells `session.forward`. Of SSH it tells the connection; what its channels do is told by their protocol, through
// `reported`. It decides nothing and keeps no text of a session.

import { auditRow } from '../core/audit/catalogue.ts'
import type { TargetRef } from '../core/identity.ts'
import type { Source } from '../core/messages.ts'
import type { Explanation } from '../core/policy/explain.ts'
import type { Access, Peer, Refusal } from '../core/protocol.ts'
import type { SessionCounters } from './session.ts'

/** Codes of the stories. */
const STORIES = {
  database: {
    start: ['db.session.start', 'TDB00I', 'TDB00W'],
    end: ['db.session.end', 'TDB01I'],
  },
  ssh: {
    start: ['ssh.connection', 'SLR006I', 'SLR006W'],
    end: ['ssh.connection', 'SLR007I'],
  },
  forward: {
    start: ['session.forward', 'SLR003I', 'SLR003W'],
    end: ['session.forward', 'SLR004I'],
  },
} as const

type Fields = Readonly<Record<string, unknown>>

/** Facts of a session that its events carry. */
export interface SessionFacts {
  readonly story: keyof typeof STORIES
  readonly sessionId: string
  /** What kind of target: it decides under which names the wish is told. */
  readonly kind: TargetRef['kind']
  /** Of the host that tells. */
  readonly serverId: string
  readonly protocol: string
  readonly client: Source
  readonly labels: Readonly<Record<string, string>>
  /** More of the host's own, the same in every event. */
  readonly more: Fields
}

export class SessionAudit {
  #facts: SessionFacts
  readonly #send: (name: string, code: string, fields: Fields) => void
  /** The log heard that it began, or was denied. */
  #told = false

  constructor(facts: SessionFacts, send: (name: string, code: string, fields: Fields) => void) {
    this.#facts = facts
    this.#send = send
  }

  /** Labels of the target, when it is known later than the session. */
  resolved(labels: Readonly<Record<string, string>>): void {
    this.#facts = { ...this.#facts, labels }
  }

  /** Fields of every event of the session about this person and wish. */
  fields(peer: Peer | undefined, access: Access | undefined): Fields {
    const { sessionId, serverId, client, more } = this.#facts
    const session = { sid: sessionId, server_id: serverId, 'addr.remote': remote(client) }
    if (peer === undefined) return session
    const { identity } = peer
    return {
      ...session,
      ...more,
      user: identity.name,
      user_kind: identity.kind === 'bot' ? 2 : 1,
      user_roles: identity.roles,
      ...this.#wish(access),
      'addr.trusted': client.trusted,
    }
  }

  #wish(access: Access | undefined): Fields {
    const { kind, protocol, labels } = this.#facts
    const [name, principal] = [access?.target.name ?? '', access?.principal ?? '']
    if (kind === 'node') return { target_name: name, login: principal, server_labels: labels }
    return {
      db_service: name,
      db_protocol: protocol,
      db_user: principal,
      db_name: access?.resource ?? '',
      db_labels: labels,
    }
  }

  /** It begins, or a refusal says that it does not. `decision`: absent where no policy was asked. */
  start(
    peer: Peer,
    access: Access,
    decision: { readonly id: string; readonly explanation?: Explanation },
    no: Refusal | undefined,
  ): void {
    this.#told = true
    const [name, yes, denied] = STORIES[this.#facts.story].start
    const { explanation } = decision
    const fields = {
      ...this.fields(peer, access),
      decision_id: decision.id,
      ...(explanation === undefined ? {} : { decision: explanation }),
      success: no === undefined,
      certificate_serial: peer.facts.serial,
      with_mfa: peer.identity.mfaAtMs !== undefined,
    }
    if (no === undefined) return this.#send(name, yes, fields)
    if (no.kind === 'limit')
      this.#send('session.rejected', 'T1006W', { ...fields, reason: no.reason })
    return this.#send(name, denied, { ...fields, error: no.reason, message: no.next })
  }

  /** Somebody came who is nobody the cluster knows. */
  stranger(fields: Fields): void {
    const { serverId, client } = this.#facts
    this.#send('auth', 'T3007W', { ...fields, server_id: serverId, 'addr.remote': remote(client) })
  }

  /**
   * It came to no decision: nobody asked for anything, or the proxy that forwards is wrong. Told once, unless a decision was: the
   * other end of the session tells of it too.
   */
  undecided(target: TargetRef, decisionId: string, error: string): void {
    if (this.#told) return
    this.#told = true
    const [name, , denied] = STORIES[this.#facts.story].start
    this.#send(name, denied, {
      ...this.fields(undefined, undefined),
      ...this.#facts.more,
      ...(target.kind === 'node' ? { target_name: target.name } : { db_service: target.name }),
      decision_id: decisionId,
      success: false,
      error,
    })
  }

  disconnect(peer: Peer | undefined, access: Access | undefined, reason: string): void {
    this.#send('client.disconnect', 'T3006I', { ...this.fields(peer, access), reason })
  }

  end(
    peer: Peer | undefined,
    access: Access | undefined,
    over: {
      readonly reason: string
      readonly startedAtMs: number
      readonly nowMs: number
      readonly counters: SessionCounters | undefined
      /** As the session's tap counted them; absent: its notes. */
      readonly statements?: number | undefined
    },
  ): void {
    const [name, code] = STORIES[this.#facts.story].end
    const { reason, startedAtMs, nowMs, counters, statements } = over
    this.#send(name, code, {
      ...this.fields(peer, access),
      reason,
      session_start: new Date(startedAtMs).toISOString(),
      session_stop: new Date(nowMs).toISOString(),
      bytes_from_client: counters?.fromClientBytes,
      bytes_from_target: counters?.fromTargetBytes,
      ...(this.#facts.story === 'database' ? { statements: statements ?? counters?.notes } : {}),
    })
  }

  /** An event that the session's protocol names by code. False: nobody knows it. */
  reported(
    code: string,
    peer: Peer | undefined,
    access: Access | undefined,
    more: Fields,
  ): boolean {
    const name = auditRow(code)?.name
    if (name === undefined) return false
    this.#send(name, code, { ...this.fields(peer, access), ...more })
    return true
  }
}

function remote({ address, port }: Source): string {
  return `${address}:${port}`
}
