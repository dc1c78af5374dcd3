// The SSH half of a login: key (on disk, or in the person's ssh-agent alone), certificate, and the CAs that certify hosts. Read from
// the profile; nothing here talks to a network.

import { readSshCertificate, type SshCertificate } from '../../core/cert/ssh.ts'
import { SshReader } from '../../core/ssh/bytes.ts'
import { CommandError, EXIT } from '../exit.ts'
import { readText } from '../profile.ts'
import type { Tools } from '../tools.ts'
import { type Login, loginHint } from '../tsh/session.ts'

export interface SshLogin {
  readonly certificate: SshCertificate
  /** Text of the private key file; absent: the ssh-agent has it. */
  readonly key: string | undefined
  /** Blobs. */
  readonly hostCas: readonly Uint8Array[]
}

/** Principals that begin so are nobody's login. */
const NO_LOGIN = '-'

export function requireSshLogin(tools: Tools, login: Login): SshLogin {
  const found = readSshLogin(tools, login)
  if (found !== undefined && found.hostCas.length > 0) return found
  throw new CommandError(
    'the login has no SSH certificate',
    EXIT.notLoggedIn,
    `${loginHint(login.profile.proxy)} --force`,
  )
}

/** Undefined: the login was made without SSH. */
export function readSshLogin(tools: Tools, { profile }: Login): SshLogin | undefined {
  const files = tools.profiles.sshFiles(profile)
  const line = readText(files.certificate)
  if (line === undefined) return undefined
  const certificate = readSshCertificate(readLine(line))
  const hostCas = (readText(files.hostCas) ?? '').split('\n').filter((each) => each !== '')
  return { certificate, key: readText(files.key), hostCas: hostCas.map(readLine) }
}

/** Logins on machines that the certificate is good for. */
export function loginsOf({ certificate }: SshLogin): readonly string[] {
  return certificate.principals.filter((each) => !each.startsWith(NO_LOGIN))
}

/** A line of a public key or certificate, as OpenSSH's files have it. */
export function writeLine(blob: Uint8Array, comment = ''): string {
  const line = `${new SshReader(blob).text()} ${Buffer.from(blob).toString('base64')}`
  return `${comment === '' ? line : `${line} ${comment}`}\n`
}

function readLine(line: string): Uint8Array {
  return Buffer.from(line.trim().split(' ')[1] ?? '', 'base64')
}
