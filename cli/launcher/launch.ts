// One program, from a judged request to its end: room, account, command, its ends, orders while it runs, its exit. The connection the
// request came on stays for orders; when the agent closes it, the program is hung up.

import { closeSync, constants, fchmodSync, fchownSync, fstatSync, openSync } from 'node:fs'
import process from 'node:process'

import { ProxyError } from '../../core/errors.ts'
import type { ProgramKind } from '../../core/ssh/machine.ts'
import type { ByteStream } from '../../core/stream.ts'
import { readMessage, writeMessage } from '../../workers/framed.ts'
import { type LaunchAnswer, launchOrder, type ProgramLaunch } from '../../workers/launch-wire.ts'
import type { Account } from './account.ts'
import { sessionEnvironment } from './environment.ts'
import type { Judged } from './judge.ts'
import type { LoginRecords, LoginSession } from './login-records.ts'
import { programLine } from './program-line.ts'
import { Program } from './program.ts'
import { expectStreams } from './streams.ts'

export interface LaunchPlace {
  /** Folder of the sockets for single programs. */
  readonly folder: string
  /** Whose terminals are taken. */
  readonly agentUid: number
  /** The group terminals belong to, where the machine has one. */
  readonly ttyGid: number | undefined
  /** Who hears of terminals, where the machine keeps records of them. */
  readonly records: LoginRecords | undefined
}

/** Resolves when the program ended. */
export async function launchProgram(
  stream: ByteStream,
  launch: ProgramLaunch,
  judged: Judged,
  account: Account,
  place: LaunchPlace,
): Promise<void> {
  const { forced } = judged
  const what = forced === undefined ? launch.program : command(forced)
  const line = programLine(account, what, launch.terminal !== undefined)
  const original = forced === undefined ? {} : { original: wished(launch, forced) }
  const env = sessionEnvironment({ launch, account, identity: judged.identity, ...original })
  const start = (ends: Parameters<typeof Program.start>[3]): Promise<Program> =>
    Program.start(line, env, account, ends)
  const program =
    launch.terminal === undefined
      ? await withStreams(stream, place, start)
      : await withTerminal(launch.terminal.path, account, place, start)
  const session = loginSession(launch, account, program)
  if (session !== undefined) place.records?.began(session)
  await answer(stream, { kind: 'started' }).catch(() => program.hangUp())
  void obey(stream, program)
  const exit = await program.exit
  if (session !== undefined) place.records?.ended(session)
  await answer(stream, { kind: 'exit', exit })
}

function loginSession(
  { terminal, ask }: ProgramLaunch,
  { name }: Account,
  { pid }: Program,
): LoginSession | undefined {
  if (terminal === undefined) return undefined
  return { line: terminal.path.slice('/dev/'.length), pid, user: name, host: ask.client.host }
}

type Start = (ends: Parameters<typeof Program.start>[3]) => Promise<Program>

async function withStreams(
  stream: ByteStream,
  { folder }: LaunchPlace,
  start: Start,
): Promise<Program> {
  const expected = await expectStreams(folder, 3)
  try {
    await answer(stream, { kind: 'streams', path: expected.path })
    const [input, output, errors] = await expected.sockets
    if (input === undefined || output === undefined || errors === undefined)
      throw new ProxyError('dial.failed', 'The streams of a program are missing.')
    return await start({ kind: 'sockets', sockets: [input, output, errors] })
  } finally {
    // The program has its own copies.
    expected.close()
  }
}

async function withTerminal(
  file: string,
  account: Account,
  place: LaunchPlace,
  start: Start,
): Promise<Program> {
  const descriptor = openTerminal(file, place.agentUid)
  try {
    giveTerminal(descriptor, account, place)
    return await start({ kind: 'terminal', descriptor })
  } finally {
    closeSync(descriptor)
  }
}

const PTS = /^\/dev\/pts\/\d{1,7}$/

/** Only one that the agent opened itself: a path alone could be another login's terminal. */
function openTerminal(file: string, agentUid: number): number {
  if (!PTS.test(file)) throw new ProxyError('protocol.violation', 'The terminal has no such path.')
  const { O_RDWR, O_NOCTTY, O_NOFOLLOW } = constants
  const descriptor = openSync(file, O_RDWR | O_NOCTTY | O_NOFOLLOW)
  const found = fstatSync(descriptor)
  if (found.isCharacterDevice() && found.uid === agentUid) return descriptor
  closeSync(descriptor)
  throw new ProxyError('protocol.violation', 'The terminal is not one of the agent’s.')
}

/** The login owns it, and others may write to it where a group exists for that (mesg, wall), as sshd does. */
function giveTerminal(descriptor: number, { uid, gid }: Account, { ttyGid }: LaunchPlace): void {
  if (process.getuid?.() === 0) fchownSync(descriptor, uid, ttyGid ?? gid)
  fchmodSync(descriptor, ttyGid === undefined ? 0o600 : 0o620)
}

/** Until the agent has no more to say. What it says wrongly ends the program as its silence would. */
async function obey(stream: ByteStream, program: Program): Promise<void> {
  try {
    for (;;) {
      const order = await readMessage(stream, launchOrder, 'launchOrderBytesMax')
      if (order === undefined) break
      program.signal(order.name)
    }
  } catch {
    // The connection is lost.
  }
  program.hangUp()
}

function command(text: string): ProgramKind {
  return { kind: 'exec', command: Buffer.from(text) }
}

/** What sshd puts into SSH_ORIGINAL_COMMAND. The agent forces too, and says what its client asked for: text, whoever wrote it. */
function wished({ program, env }: ProgramLaunch, forced: string): string {
  switch (program.kind) {
    case 'exec': {
      const text = Buffer.from(program.command).toString('utf8')
      return (text === forced ? (env[ORIGINAL_COMMAND] ?? '') : text).replaceAll('\0', '')
    }
    case 'shell':
      return ''
    case 'subsystem':
      return program.name
  }
}

const ORIGINAL_COMMAND = 'SSH_ORIGINAL_COMMAND'

function answer(stream: ByteStream, message: LaunchAnswer): Promise<void> {
  return writeMessage(stream, message)
}
