// What a session channel is going to run: what was asked for, or the one command that its certificate allows. Pure.

import { copyCommandOf, type CopyCommand } from './copy-command.ts'
import type { AuditFields } from '../../core/protocol.ts'
import { max } from '../../core/limits.ts'
import type { ProgramKind } from '../../core/ssh/machine.ts'
import type { ChannelRequest } from './transport/requests.ts'

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

/** Undefined: no program of this kind is known here. */
export function planOf(wish: Wish, forced: string | undefined): Plan | undefined {
  if (wish.kind === 'subsystem' && wish.name !== 'sftp') return undefined
  if (forced !== undefined) return forcedPlan(wish, forced)
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
    env: wish.kind === 'shell' ? {} : { SSH_ORIGINAL_COMMAND: original.replaceAll('\0', '') },
  }
}

/** The command as text, cut to its bound; `command_bytes` when it was longer. */
function commandFields(command: Uint8Array): AuditFields {
  const most = max('sshCommandToldBytesMax')
  const text = Buffer.from(command.subarray(0, most)).toString('utf8')
  return command.length > most
    ? { command: text, command_bytes: command.length }
    : { command: text }
}
