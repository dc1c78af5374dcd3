// What an agent tells control of its targets each minute, and the server certificate it gets for their names. A new certificate is
// asked for when there is none, when the names changed, and after a third of its life; otherwise the announcement is a heartbeat.

import type { ControlClient } from '../../control/api/client.ts'
import { signedMessageOf } from '../../control/api/signed-item.ts'
import type { InventoryReply } from '../../control/api/messages.ts'
import type { AnnouncedTarget } from '../../core/agent-target.ts'
import { readPem } from '../../core/cert/pem.ts'
import { readCertificate } from '../../core/cert/x509.ts'
import type { Clock } from '../../core/clock.ts'
import type { AgentWord, Announcement } from '../../workers/agent-targets.ts'
import { newRequest } from './identity.ts'

interface Served {
  readonly names: string
  readonly renewAtMs: number
}

export class Announcer {
  readonly #client: ControlClient
  readonly #descriptions: ReadonlyMap<string, string>
  readonly #clock: Clock
  #served: Served | undefined

  constructor(client: ControlClient, descriptions: ReadonlyMap<string, string>, clock: Clock) {
    this.#client = client
    this.#descriptions = descriptions
    this.#clock = clock
  }

  async announce({ targets, selectors, health, held }: AgentWord): Promise<Announcement> {
    const word = {
      targets: targets.map((target) => this.#asAnnounced(target)),
      selectors,
      health,
      ...held,
    }
    const due = this.#served === undefined || this.#clock.now() >= this.#served.renewAtMs
    const first = due ? undefined : await this.#client.call('inventory', word)
    if (first !== undefined && namesOf(first) === this.#served?.names) return asAnnouncement(first)
    const { key, csr } = newRequest()
    const reply = await this.#client.call('inventory', { ...word, csr })
    const { certificate } = reply
    if (certificate === undefined) return asAnnouncement(reply)
    this.#served = { names: namesOf(reply), renewAtMs: renewAtMs(certificate) }
    return { ...asAnnouncement(reply), keys: { certificate, key } }
  }

  #asAnnounced(target: AnnouncedTarget): {
    kind: AnnouncedTarget['ref']['kind']
    name: string
    protocol: string
    labels: Readonly<Record<string, string>>
    description: string
  } {
    const { kind, name } = target.ref
    const description = this.#descriptions.get(name) ?? ''
    return { kind, name, protocol: target.protocol, labels: target.labels, description }
  }
}

function asAnnouncement(reply: InventoryReply): Announcement {
  const { accepted, refused, dynamic, revision, locks } = reply
  return {
    ...(locks === undefined ? {} : { locks: signedMessageOf(locks) }),
    accepted: accepted.map((each) => ({ ...each, kind: each.kind ?? 'db' })),
    refused,
    revision,
    dynamic: dynamic.map(({ name, description: _, ...target }) => ({
      ref: { kind: 'db', name },
      ...target,
    })),
  }
}

function namesOf({
  accepted,
}: {
  readonly accepted: readonly { readonly label: string }[]
}): string {
  return accepted
    .map(({ label }) => label)
    .sort()
    .join(' ')
}

function renewAtMs(chain: string): number {
  const [leaf] = readPem('CERTIFICATE', chain)
  if (leaf === undefined) return 0
  const { notBeforeMs, notAfterMs } = readCertificate(leaf)
  return notBeforeMs + (notAfterMs - notBeforeMs) / 3
}
