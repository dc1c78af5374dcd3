// A login written out for OpenSSH alone (`tsh login --out`): key, certificate beside it, and whom to trust. With these three files a
// machine that has no tsh reaches nodes by `ssh -J`. Nothing of it goes into the profile or the ssh-agent.

import { existsSync } from 'node:fs'

import type { SshLogin as SshReply } from '../../control/api/ssh-messages.ts'
import { usage } from '../command.ts'
import { CommandError } from '../exit.ts'
import { hostOf, writeWhole } from '../profile.ts'
import { writePrivateKey } from '../../core/ssh/private-key.ts'
import { splitAddress } from '../supervisor/listeners.ts'
import { authorityStart, type NewSshKey } from './keep.ts'
import { shellWord } from './config-word.ts'
import { writeLine } from './login.ts'

const ENDINGS = ['', '-cert.pub', '-known_hosts'] as const

/** Before anybody has typed a password. */
export function checkOut(out: string, overwrite: boolean): void {
  const there = ENDINGS.map((ending) => `${out}${ending}`).find((file) => existsSync(file))
  if (there !== undefined && !overwrite)
    throw usage(`${there} is there already`, 'Name another with --out, or replace it: --overwrite.')
}

/** Resolves with what to type then. */
export function writeIdentity(
  out: string,
  {
    proxy,
    cluster,
    user,
  }: { readonly proxy: string; readonly cluster: string; readonly user: string },
  { key }: NewSshKey,
  reply: SshReply | undefined,
): string {
  if (reply === undefined)
    throw new CommandError('the cluster has no SSH: there is nothing to write')
  const blob = (text: string): Buffer => Buffer.from(text, 'base64')
  const start = authorityStart(proxy, cluster)
  writeWhole(out, writePrivateKey(key, user))
  writeWhole(`${out}-cert.pub`, writeLine(blob(reply.certificate), user))
  writeWhole(
    `${out}-known_hosts`,
    reply.hostCas.map((each) => `${start}${writeLine(blob(each), 'type=host')}`).join(''),
  )
  const { port } = splitAddress(proxy)
  const login = reply.logins[0] ?? 'LOGIN'
  const common = `-i ${shellWord(out)} -o UserKnownHostsFile=${shellWord(`${out}-known_hosts`)}`
  return [
    `Written: ${ENDINGS.map((ending) => `${out}${ending}`).join(', ')}.`,
    '',
    'Without a tsh on the machine:',
    '',
    `  ssh ${common} -o ProxyCommand="ssh ${common} -W %h:%p -p ${port} ${login}@${hostOf(proxy)}" ${login}@NODE.${cluster}`,
    '',
  ].join('\n')
}
