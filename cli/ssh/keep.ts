// The SSH half of a login, kept: key, certificate and host CAs in the profile, and the same in the person's ssh-agent until the login
// ends. OpenSSH's programs read the files as they are: known_hosts has one line per CA, which stands beside what others wrote there.

import { generateKeyPairSync, type KeyObject } from 'node:crypto'

import type { SshLogin as SshReply } from '../../control/api/ssh-messages.ts'
import { readSshCertificate } from '../../core/cert/ssh.ts'
import { publicBlob } from '../../core/ssh/key.ts'
import { writePrivateKey } from '../../core/ssh/private-key.ts'
import { type Input, type Option, usage } from '../command.ts'
import { CommandError, errorText } from '../exit.ts'
import { hostOf, type Profile, readText } from '../profile.ts'
import { findAgent } from '../ssh-agent.ts'
import type { Tools } from '../tools.ts'
import { writeLine } from './login.ts'

const WAYS = ['auto', 'no', 'yes', 'only'] as const
/** What becomes of the key: in the agent if there is one, never, surely, or nowhere else. */
export type KeepWay = (typeof WAYS)[number]

export const KEEP_OPTION: Option = {
  flags: '-k, --add-keys-to-agent <way>',
  about: 'give the SSH key to ssh-agent: auto (if it answers), no, yes, only (no file of it)',
  choices: WAYS,
}

export function keepWay(input: Input, { env }: Tools): KeepWay {
  const named = env['SLUICE_ADD_KEYS_TO_AGENT'] ?? env['TELEPORT_ADD_KEYS_TO_AGENT']
  const known = named === undefined ? 'auto' : WAYS.find((each) => each === named)
  if (known === undefined) throw usage(`SLUICE_ADD_KEYS_TO_AGENT is one of ${WAYS.join(', ')}`)
  return input.choice('add-keys-to-agent', WAYS, known)
}

export interface NewSshKey {
  readonly key: KeyObject
  /** Wire bytes, base64, as control takes it. */
  readonly publicKey: string
}

export function newSshKey(): NewSshKey {
  const key = generateKeyPairSync('ed25519').privateKey
  return { key, publicKey: Buffer.from(publicBlob(key)).toString('base64') }
}

/** Fails before anybody has typed a password when there must be an agent and there is none. */
export async function checkAgent(tools: Tools, way: KeepWay): Promise<void> {
  if ((way === 'yes' || way === 'only') && (await findAgent(tools.env)) === undefined)
    throw new CommandError(
      `--add-keys-to-agent=${way}, but no ssh-agent answers`,
      undefined,
      'Start one (eval $(ssh-agent)), or leave the option out.',
    )
}

/** Replaces what an earlier login left. `reply` is absent where the cluster has no SSH: then nothing of it stays. */
export async function keepSshLogin(
  tools: Tools,
  profile: Profile,
  { key }: NewSshKey,
  reply: SshReply | undefined,
  way: KeepWay,
): Promise<void> {
  await dropFromAgent(tools, profile)
  tools.profiles.forgetSsh(profile)
  if (reply === undefined) return writeKnownHosts(tools, profile, [])
  const certificate = Buffer.from(reply.certificate, 'base64')
  const hostCas = reply.hostCas.map((each) => Buffer.from(each, 'base64'))
  const files = tools.profiles.sshFiles(profile)
  const put = (file: string, text: string): void => tools.profiles.put(file, text)
  if (way !== 'only') put(files.key, writePrivateKey(key, profile.user))
  put(files.publicKey, writeLine(publicBlob(key), profile.user))
  put(files.certificate, writeLine(certificate, profile.user))
  put(files.hostCas, hostCas.map((each) => writeLine(each)).join(''))
  writeKnownHosts(tools, profile, hostCas)
  await addToAgent(tools, profile, key, certificate, way)
}

async function addToAgent(
  tools: Tools,
  profile: Profile,
  key: KeyObject,
  certificate: Uint8Array,
  way: KeepWay,
): Promise<void> {
  if (way === 'no') return
  const agent = await findAgent(tools.env)
  if (agent === undefined && way === 'auto') return
  const endsMs = Number(readSshCertificate(certificate).validBefore) * 1000
  const lifetimeSeconds = Math.max(1, Math.floor((endsMs - tools.clock.now()) / 1000))
  const common = { key, comment: commentOf(profile), lifetimeSeconds }
  try {
    if (agent === undefined) throw new CommandError('no ssh-agent answers')
    await agent.add({ ...common, certificate })
    // Some clients offer a certificate only beside its key.
    await agent.add(common)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    if (way !== 'auto') throw error
    tools.note(`The SSH key is on disk, but not in the ssh-agent: ${reason}\n`)
  }
}

/** Takes the login out of the ssh-agent. The CA's line in known_hosts stays with the pin: it proves hosts, it opens nothing. */
export async function dropFromAgent(tools: Tools, profile: Profile): Promise<void> {
  const agent = await findAgent(tools.env)
  if (agent === undefined) return
  const comment = commentOf(profile)
  const ours = (await agent.list()).filter((each) => each.comment === comment)
  for (const { blob } of ours)
    await agent.remove(blob).catch((error: unknown) => tools.note(`${errorText(error)}\n`))
}

/** By which our identities are known again among the person's own. */
function commentOf({ proxy, cluster, user }: Profile): string {
  return `sluice:${hostOf(proxy)}:${cluster}:${user}`
}

function writeKnownHosts(tools: Tools, profile: Profile, cas: readonly Uint8Array[]): void {
  const { knownHosts } = tools.profiles.sshFiles(profile)
  const start = authorityStart(profile.proxy, profile.cluster)
  const before = (readText(knownHosts) ?? '').split('\n')
  const others = before.filter((line) => line !== '' && !line.startsWith(start))
  if (cas.length === 0 && others.length === before.length - 1) return
  const lines = cas.map((each) => `${start}${writeLine(each, 'type=host').trimEnd()}`)
  tools.profiles.put(knownHosts, [...others, ...lines, ''].join('\n'))
}

/** How a line of known_hosts begins by which OpenSSH believes the cluster's hosts. */
export function authorityStart(proxy: string, cluster: string): string {
  return `@cert-authority ${hostOf(proxy)},${cluster},*.${cluster} `
}
