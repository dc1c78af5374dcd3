// What a session channel is going to run: what was asked for, or the one command that its certificate allows. Pure.

import { copyCommandOf, type CopyCommand } from './copy-command.ts'
import type { AuditFields } from '../../core/protocol.ts'
import { max } from '../../core/limits.ts'
import type { ProgramKind } from '../../core/ssh/machine.ts'
import type { ChannelRequest } from './transport/requests.ts'

/** What the forced command reads. */
export const ORIGINAL_COMMAND = 'SSH_ORIGINAL_COMMAND'

export type Wish = Extract<ChannelRequest, { kind: 'shell' | 'exec' | 'subsystem' }>

export interface Plan {
  readonly program: ProgramKind
  /** What the program is to the audit log when it has no terminal. */
  readonly story: 'command' | 'scp' | 'sftp'
  readonly copy: CopyCommand | undefined
  /** Fields that say what runs, and what was asked for instead. */
  readonly fields: AuditFields
  /** Variables that say what was asked for. */
  readonly env: Readonly<Record<string, string>>
}

/** A proxy that ended the client's SSH: it read the same certificate, and forced what that commands already. */
export interface InFront {
  /** What it says its client asked for; undefined: a shell. */
  readonly asked: string | undefined
}

/** Undefined: no program of this kind is known here. */
export function planOf(wish: Wish, forced: string | undefined, proxy?: InFront): Plan | undefined {
  if (wish.kind === 'subsystem' && wish.name !== 'sftp') return undefined
  if (forced !== undefined) return forcedPlan(wishBehind(wish, forced, proxy), forced)
  const fields = wish.kind === 'exec' ? commandFields(wish.command) : {}
  const copy = wish.kind === 'exec' ? copyCommandOf(wish.command) : undefined
  const story = wish.kind === 'subsystem' ? 'sftp' : (copy?.tool ?? 'command')
  return { program: programOf(wish), story, copy, fields, env: {} }
}

function programOf(wish: Wish): ProgramKind {
  switch (wish.kind) {
    case 'shell':
      return { kind: 'shell' }
    case 'exec':
      return { kind: 'exec', command: wish.command }
    case 'subsystem':
      return { kind: 'subsystem', name: 'sftp' }
  }
}

/** The forced command reads what was asked for, as sshd's do. What it does with that is its own. */
function forcedPlan(wish: Wish, forced: string): Plan {
  const command = Buffer.from(forced)
  const original = wish.kind === 'exec' ? Buffer.from(wish.command).toString('utf8') : wish.kind
  const asked = wish.kind === 'exec' ? commandFields(wish.command)['command'] : wish.kind
  const copy = copyCommandOf(command)
  return {
    program: { kind: 'exec', command },
    story: copy?.tool ?? 'command',
    copy,
    fields: { ...commandFields(command), forced: true, original_command: asked },
    env: wish.kind === 'shell' ? {} : { [ORIGINAL_COMMAND]: original.replaceAll('\0', '') },
  }
}

/** The client's wish, where what came is what a proxy made of it. Both are the client's words, and change nothing that runs. */
function wishBehind(wish: Wish, forced: string, proxy: InFront | undefined): Wish {
  const made = wish.kind === 'exec' && Buffer.from(forced).equals(wish.command)
  if (!made || proxy === undefined) return wish
  return proxy.asked === undefined
    ? { kind: 'shell' }
    : { kind: 'exec', command: Buffer.from(proxy.asked) }
}

/** The command as text, cut to its bound; `command_bytes` when it was longer. */
function commandFields(command: Uint8Array): AuditFields {
  const most = max('sshCommandToldBytesMax')
  const text = Buffer.from(command.subarray(0, most)).toString('utf8')
  return command.length > most
    ? { command: text, command_bytes: command.length }
    : { command: text }
}
