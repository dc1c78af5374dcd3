// How tctl reaches control, in this order: the proxy named by --auth-server with the login of tsh; control's own socket on this
// machine, found through sluice.yaml (the super-administrator, audited as such); the current login of tsh.

import { accessSync, constants } from 'node:fs'

import type { ControlClient } from '../../control/api/client.ts'
import { DEFAULT_CONFIG_FILE, loadConfig } from '../../control/config.ts'
import { Input } from '../command.ts'
import { CommandError, EXIT } from '../exit.ts'
import { readText } from '../profile.ts'
import { adminSocket } from '../roles/settings.ts'
import type { Tools } from '../tools.ts'
import { withSession } from '../tsh/session.ts'

/** Runs `work` with a client that may administer, and closes it whatever happens. */
export async function withAdministrator<T>(
  tools: Tools,
  input: Input,
  work: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const server =
    input.text('auth-server') ??
    tools.env['SLUICE_AUTH_SERVER'] ??
    tools.env['TELEPORT_AUTH_SERVER']
  const local = server === undefined ? findSocket(tools, input) : undefined
  if (local?.socket === undefined)
    return await asPerson(tools, server, local?.why, async (client) => await work(client))
  const client = await tools.localControl(local.socket)
  try {
    return await work(client)
  } finally {
    client.close()
  }
}

interface Local {
  readonly socket?: string
  /** Why this machine's control is not used. */
  readonly why: string
}

function findSocket(tools: Tools, input: Input): Local {
  const named =
    input.text('config') ?? tools.env['SLUICE_CONFIG_FILE'] ?? tools.env['TELEPORT_CONFIG_FILE']
  const file = named ?? DEFAULT_CONFIG_FILE
  const text = readConfig(file)
  if (text === undefined) {
    if (named === undefined) return { why: `there is no ${file} on this machine` }
    throw new CommandError(`there is no file ${file}`, EXIT.usage)
  }
  const socket = adminSocket(loadConfig(text, file))
  try {
    accessSync(socket, constants.R_OK | constants.W_OK)
    return { socket, why: '' }
  } catch {
    return { why: `control’s socket ${socket} is not there, or not yours to use` }
  }
}

/** A file that may not be read is no reason to refuse: the person may have a login. */
function readConfig(file: string): string | undefined {
  try {
    return readText(file)
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'EACCES') return undefined
    throw error
  }
}

async function asPerson<T>(
  tools: Tools,
  server: string | undefined,
  why: string | undefined,
  work: (client: ControlClient) => Promise<T>,
): Promise<T> {
  const input = new Input([], server === undefined ? {} : { proxy: server })
  try {
    // Who administers names whom they are by hand.
    return await withSession(
      { ...tools, interactive: false },
      input,
      async ({ client }) => await work(client),
    )
  } catch (error) {
    if (!(error instanceof CommandError) || error.status !== EXIT.notLoggedIn) throw error
    const reason = why === undefined ? '' : `, and ${why}`
    throw new CommandError(
      `${error.message}${reason}`,
      error.status,
      'Run tctl where control runs (-c sluice.yaml, as its user or root), or log in with tsh.',
    )
  }
}
