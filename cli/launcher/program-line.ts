// The command line that turns root into a login and becomes its program: setsid for a terminal of its own and whose it is, setpriv for uid,
// gid and the login's groups, then a few lines of sh, already as the login: the home, umask and limits of a session, and the login's shell.
// Nothing a client says is part of a line that a shell reads, but for the command itself, which the login's own shell gets with -c.

import { existsSync, readFileSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'

import { ProxyError } from '../../core/errors.ts'
import { max } from '../../core/limits.ts'
import type { ProgramKind } from '../../core/ssh/machine.ts'
import type { Account } from './account.ts'
import { sessionUmask } from './environment.ts'

export interface ProgramLine {
  readonly file: string
  readonly args: readonly string[]
}

const SETPRIV = '/usr/bin/setpriv'
const SETSID = '/usr/bin/setsid'
const SH = '/bin/sh'
/** Alone among shells that machines have, it can name a program otherwise than by its path. */
const BASH = '/bin/bash'

const SFTP_SERVERS: readonly string[] = [
  '/usr/lib/openssh/sftp-server',
  '/usr/libexec/openssh/sftp-server',
  '/usr/lib/ssh/sftp-server',
  '/usr/libexec/sftp-server',
]

/** What a program of a login begins as. `terminal`: its standard input is the terminal it gets as its own. */
export function programLine(account: Account, what: ProgramKind, terminal: boolean): ProgramLine {
  const words = [...becoming(account), ...shellWords(account, what)]
  const [file = SH, ...args] = terminal
    ? [SETSID, '--ctty', ...attributed(account), ...words]
    : words
  return { file, args }
}

/**
 * Tells the kernel whose session this is (loginuid), as pam_loginuid does: `last` believes nobody else that it lasts. Only a process itself can say
 * it, while it is root; a kernel without it, or one that has been told already and holds to it, is none the worse. These words are fixed but for the number.
 */
function attributed({ uid }: Account): readonly string[] {
  if (process.getuid?.() !== 0) return []
  return [SH, '-c', '{ echo "$0" >/proc/self/loginuid; } 2>/dev/null; exec "$@"', String(uid)]
}

/** Words that become the login; none where the launcher is the login already. */
export function becoming({ uid, gid }: Pick<Account, 'uid' | 'gid'>): readonly string[] {
  if (process.getuid?.() !== 0) return []
  return [SETPRIV, `--reuid=${uid}`, `--regid=${gid}`, '--init-groups', '--']
}

/** Throws where a machine lacks what every session needs. */
export function checkPrograms(): void {
  const needed = process.getuid?.() === 0 ? [SETPRIV, SETSID, SH] : [SETSID, SH]
  const missing = needed.find((file) => !existsSync(file))
  if (missing !== undefined)
    throw new ProxyError('runtime.unfit', `The SSH service needs ${missing}.`, {
      next: 'Install util-linux.',
    })
}

function shellWords({ shell }: Account, what: ProgramKind): readonly string[] {
  switch (what.kind) {
    case 'shell':
      return loginShell(shell)
    case 'exec':
      return commanded(shell, what.command)
    case 'subsystem':
      return [SH, '-c', `${opening()}exec "$@"`, SH, shell, '-c', `exec ${sftpServer()}`]
  }
}

/** A shell is a login shell when its name begins with a dash, or where nothing can name it so, by an option most of them know. */
function loginShell(shell: string): readonly string[] {
  if (!existsSync(BASH)) return [SH, '-c', `${opening()}exec "$0" -l`, shell]
  const named = `${opening()}exec -a "$0" "$1"`
  return [BASH, '--norc', '--noprofile', '-c', named, `-${path.basename(shell)}`, shell]
}

function commanded(shell: string, command: Uint8Array): readonly string[] {
  if (command.length > max('launchCommandBytesMax'))
    throw new ProxyError('limit.exceeded', 'The command is longer than launchCommandBytesMax.')
  if (command.includes(0)) throw new ProxyError('policy.denied', 'The command holds a zero byte.')
  const text = Buffer.from(command).toString('utf8')
  if (Buffer.from(text).equals(command))
    return [SH, '-c', `${opening()}exec "$@"`, SH, shell, '-c', text]
  // Arguments are text to Node. Other bytes are written out, and put together by printf; the dot keeps line feeds at the end.
  const put = `${opening()}c=$(printf %b. "$1"); exec "$0" -c "\${c%.}"`
  return [SH, '-c', put, shell, escaped(command)]
}

/** For %b of printf: everything but plain characters as `\0ooo`. */
function escaped(command: Uint8Array): string {
  const text = Buffer.from(command).toString('latin1')
  return text.replaceAll(/[^ -[\]-~]/g, (one) => `\\0${one.charCodeAt(0).toString(8)}`)
}

/** sh, as the login. Node has raised the number of descriptors for itself: programs that walk through all of them must not see that. */
function opening(): string {
  const files = Math.min(FILES_USUAL, hardFilesMax())
  return [
    'cd "$HOME" 2>/dev/null || { cd /; echo "Could not enter the home folder $HOME: the session is in /." >&2; }',
    'unset OLDPWD',
    `umask ${sessionUmask()}`,
    `ulimit -S -n ${files}`,
    'ulimit -S -c 0',
    '',
  ].join('; ')
}

const FILES_USUAL = 1024

function hardFilesMax(): number {
  const found = /^Max open files\s+\S+\s+(\d+)/m.exec(readFileSync('/proc/self/limits', 'utf8'))
  return found === null ? FILES_USUAL : Number(found[1])
}

function sftpServer(): string {
  const found = SFTP_SERVERS.find((file) => existsSync(file))
  if (found !== undefined) return found
  throw new ProxyError(
    'policy.denied',
    'This machine has no sftp-server, so no files can be copied.',
  )
}
