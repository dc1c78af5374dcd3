// Whether the launcher starts anything for a request: it reads the certificate itself and believes nothing of the agent but what the
// node is called and labelled. Of the user CA of control's own snapshot, in time, for this login, without a restriction that is not
// carried out here; then the one decision that everybody makes (core/login.ts), with locks and roles as control signed them.

import { readSshPeer, type SshPeerReading } from '../../core/cert/ssh-identity.ts'
import { ProxyError } from '../../core/errors.ts'
import type { UserIdentity } from '../../core/identity.ts'
import { max } from '../../core/limits.ts'
import { authorize, type LoginContext } from '../../core/login.ts'
import { readPermit } from '../../core/permit.ts'
import type { SshGrant } from '../../core/protocol.ts'
import type { Snapshot, Target } from '../../core/snapshot.ts'
import type { LaunchAsk } from '../../workers/launch-wire.ts'
import { Networks } from '../../workers/source.ts'

export interface Judged {
  readonly identity: UserIdentity
  /** The certificate's own command, which stands in for every other. */
  readonly forced: string | undefined
  /** As sshd: without the extension there is no terminal. */
  readonly terminal: boolean
  readonly grant: SshGrant
}

type SshPeer = Extract<SshPeerReading, { readonly ok: true }>

const FORCE_COMMAND = 'force-command'
const SOURCE_ADDRESS = 'source-address'
const PERMIT_PTY = 'permit-pty'

/** Throws a sentence for the person when nothing may be started. */
export function judgeAsk(ask: LaunchAsk, snapshot: Snapshot | undefined, nowMs: number): Judged {
  const cas = snapshot?.ssh?.user
  if (snapshot === undefined || cas === undefined)
    throw refusal('The launcher of this machine has not heard from control yet. Try again.')
  const { cluster } = snapshot.config
  const critical = [FORCE_COMMAND, SOURCE_ADDRESS]
  const peer = readSshPeer(ask.certificate, { cas, cluster, nowMs, critical })
  if (!peer.ok) throw new ProxyError(peer.code, `The certificate is not taken: ${peer.reason}.`)
  if (!peer.principals.includes(ask.login))
    throw refusal(`The certificate is not for the login "${ask.login}".`)
  checkSource(peer, ask.client.host)
  return {
    identity: peer.identity,
    forced: optionOf(peer.critical, FORCE_COMMAND),
    terminal: optionOf(peer.extensions, PERMIT_PTY) !== undefined,
    grant: decide(ask, peer, snapshot, nowMs),
  }
}

function decide(ask: LaunchAsk, peer: SshPeer, snapshot: Snapshot, nowMs: number): SshGrant {
  const { name, labels, agentId } = ask.node
  const target: Target = {
    ref: { kind: 'node', name },
    protocol: 'ssh',
    labels,
    agents: [agentId],
    label: name,
  }
  const access = { target: target.ref, principal: ask.login, resource: '' }
  const context = contextOf(ask, peer, snapshot, nowMs)
  const { right, refusal: no } = authorize(peer, access, target, snapshot, context)
  if (right === undefined) throw refusal(`Refused: ${no.reason}. ${no.next}`)
  return right.grant.ssh ?? NOTHING
}

/** What the roles that granted the login did not speak of is not granted. */
const NOTHING: SshGrant = {
  forwardAgent: false,
  localForwarding: false,
  remoteForwarding: false,
  x11: false,
  fileCopy: false,
  sessionsMax: 0,
}

function contextOf(
  { node, proxy, sessionId }: LaunchAsk,
  { keySha256 }: SshPeer,
  { signers }: Snapshot,
  nowMs: number,
): LoginContext {
  const common = {
    nowMs,
    decisionId: sessionId,
    stalenessMaxMs: max('stalenessMaxMs'),
    keySha256,
  }
  if (proxy === undefined) return { ...common, serverIds: [node.agentId], mode: 'relay' }
  const reading = readPermit(proxy.permit, signers)
  if (reading.permit === undefined)
    throw new ProxyError(reading.code, 'The proxy’s permit for this session is none of control’s.')
  const serverIds = [node.agentId, proxy.id]
  return { ...common, serverIds, mode: 'terminate', permit: reading.permit }
}

/** Addresses and networks, separated by commas. A list that cannot be read is for nobody. */
function checkSource({ critical }: SshPeer, host: string): void {
  const list = optionOf(critical, SOURCE_ADDRESS)
  if (list !== undefined && !networksOf(list).has(host))
    throw refusal('The certificate is not for clients of this address.')
}

function networksOf(list: string): Networks {
  try {
    return new Networks(list.split(','))
  } catch (cause) {
    throw new ProxyError('policy.denied', 'The certificate names addresses that are none.', {
      cause,
    })
  }
}

function optionOf(options: Readonly<Record<string, string>>, name: string): string | undefined {
  return Object.hasOwn(options, name) ? options[name] : undefined
}

function refusal(sentence: string): ProxyError {
  return new ProxyError('policy.denied', sentence)
}
