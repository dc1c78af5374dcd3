// The rows of the catalogue for what happens inside an SSH connection; catalogue.ts takes them in. The end that reads the session emits
// them: the agent, or a proxy that terminates. That somebody was let in, and that the connection ended, are rows of the connection.
// `sid` is the connection's, or the terminal's own where there is one: a terminal is what is recorded. `decision_id` joins the two.

import type { SystemRole } from '../identity.ts'

interface SshRow {
  readonly name: string
  readonly meaning: string
  readonly fields: readonly string[]
  readonly by: readonly SystemRole[]
}

const EDGE: readonly SystemRole[] = ['agent', 'proxy']

const TERMINAL = ['command', 'command_bytes', 'terminal_size', 'term'] as const
const TIMES = ['session_start', 'session_stop'] as const
const BYTES = ['bytes_from_client', 'bytes_from_target'] as const
const EXIT = ['exit_code', 'exit_signal'] as const
const COMMAND = ['command', 'command_bytes', 'forced', 'original_command', 'interactive'] as const
const FAILED = ['error'] as const
const PORT = ['direction', 'addr', 'from', 'listener'] as const
const FILE = ['action', 'path', 'target_path', 'flags', 'error', 'status', 'unanswered'] as const

/** By code. `person`: the fields that every event with a person behind it has. */
export function sshRows(person: readonly string[]): Readonly<Record<string, SshRow>> {
  const connection = [
    ...person,
    'target_name',
    'login',
    'server_labels',
    'sid',
    'server_id',
    'server_hostname',
    'proxy_id',
    'forwarded_by',
    'addr.remote',
    'addr.trusted',
    'decision_id',
  ]
  const row = (name: string, meaning: string, ...own: readonly string[]): SshRow => ({
    by: EDGE,
    name,
    meaning,
    fields: [...connection, ...own],
  })
  return { ...sessions(row), ...forwardings(row), ...files(row) }
}

type Row = (name: string, meaning: string, ...own: readonly string[]) => SshRow

function sessions(row: Row): Readonly<Record<string, SshRow>> {
  return {
    T2000I: row('session.start', 'A terminal session began.', ...TERMINAL, 'recorded', 'forced'),
    T2003I: row('session.leave', 'Somebody left a terminal session.', 'reason'),
    T2004I: row(
      'session.end',
      'A terminal session ended.',
      ...TERMINAL,
      ...TIMES,
      ...EXIT,
      'recorded',
      'interactive',
      'reason',
    ),
    T2006I: row('session.data', 'What a program and its client exchanged.', ...BYTES),
    SLH001I: row('exec.start', 'A command began without a terminal.', ...COMMAND),
    T3001I: row('subsystem', 'A subsystem was asked for and began.', 'name'),
    T3001E: row('subsystem', 'A subsystem was refused, or did not begin.', 'name', ...FAILED),
    T3002I: row('exec', 'A command ended well.', ...COMMAND, ...EXIT),
    T3002E: row(
      'exec',
      'A command failed, was ended by a signal or did not begin.',
      ...COMMAND,
      ...EXIT,
      ...FAILED,
    ),
    SLH001W: row(
      'ssh.refused',
      'A channel or request of an SSH connection was refused.',
      'kind',
      ...FAILED,
    ),
  }
}

function forwardings(row: Row): Readonly<Record<string, SshRow>> {
  return {
    T3003I: row('port', 'A forwarded connection or listener began.', ...PORT),
    T3003E: row('port', 'A forwarding was refused or failed.', ...PORT, ...FAILED),
    T3003S: row('port', 'A forwarded connection or listener ended.', ...PORT, ...BYTES),
    T3008I: row('x11-forward', 'X11 is forwarded to a client.', 'screen'),
    T3008W: row('x11-forward', 'X11 forwarding was refused or failed.', ...FAILED),
    T3013I: row('agent-forward', 'A client’s ssh-agent is at hand for a login’s programs.'),
    T3013W: row('agent-forward', 'Agent forwarding was refused or failed.', ...FAILED),
  }
}

function files(row: Row): Readonly<Record<string, SshRow>> {
  const copy = [...COMMAND, 'path', 'action', ...EXIT] as const
  const summary = ['files_read', 'files_written', 'operations', 'failures'] as const
  return {
    T3004I: row('scp', 'A client copied from the machine.', ...copy),
    T3004E: row('scp', 'Copying from the machine failed.', ...copy, ...FAILED),
    T3005I: row('scp', 'A client copied to the machine.', ...copy),
    T3005E: row('scp', 'Copying to the machine failed.', ...copy, ...FAILED),
    T3010E: row('scp', 'Copying was refused.', ...copy, ...FAILED),
    TS001I: row('sftp', 'A file was opened.', ...FILE),
    TS001E: row('sftp', 'A file could not be opened.', ...FILE),
    TS002I: row('sftp', 'A file was closed; what was read and written of it.', ...FILE, ...AMOUNTS),
    TS002E: row('sftp', 'Closing a file failed.', ...FILE, ...AMOUNTS),
    TS004I: row('sftp', 'A file was written from another file of the machine.', ...FILE),
    TS004E: row('sftp', 'Writing a file from another file of the machine failed.', ...FILE),
    TS007I: row('sftp', 'Attributes of a path were set.', ...FILE),
    TS007E: row('sftp', 'Setting attributes failed.', ...FILE),
    TS008I: row('sftp', 'Attributes of an open file were set.', ...FILE),
    TS008E: row('sftp', 'Setting attributes failed.', ...FILE),
    TS009I: row('sftp', 'A folder was opened.', ...FILE),
    TS009E: row('sftp', 'A folder could not be opened.', ...FILE),
    TS010I: row('sftp', 'A folder was read.', ...FILE),
    TS010E: row('sftp', 'Reading a folder failed.', ...FILE),
    TS011I: row('sftp', 'A file was removed.', ...FILE),
    TS011E: row('sftp', 'Removing a file failed.', ...FILE),
    TS012I: row('sftp', 'A folder was made.', ...FILE),
    TS012E: row('sftp', 'Making a folder failed.', ...FILE),
    TS013I: row('sftp', 'A folder was removed.', ...FILE),
    TS013E: row('sftp', 'Removing a folder failed.', ...FILE),
    TS016I: row('sftp', 'A path was renamed.', ...FILE),
    TS016E: row('sftp', 'Renaming failed.', ...FILE),
    TS018I: row('sftp', 'A symbolic link was made.', ...FILE),
    TS018E: row('sftp', 'Making a symbolic link failed.', ...FILE),
    TS019I: row('sftp', 'A hard link was made.', ...FILE),
    TS019E: row('sftp', 'Making a hard link failed.', ...FILE),
    TS020E: row('sftp', 'File transfer was refused.', ...FAILED),
    TS021I: row('sftp_summary', 'A file transfer session ended.', ...summary, ...AMOUNTS),
    SLH002E: row(
      'sftp.malformed',
      'Bytes of a file transfer could not be attributed: they did not pass, and it was ended.',
      'side',
      ...FAILED,
    ),
  }
}

const AMOUNTS = ['bytes_read', 'bytes_written'] as const
