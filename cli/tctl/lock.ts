// `tctl lock`: shuts somebody or something out, now. Sessions, links and watches that match end within a second wherever beacons
// arrive; --wait says when everybody has it, and names who lacks it.

import { randomUUID } from 'node:crypto'

import type { ControlClient } from '../../control/api/client.ts'
import { type CommandSpec, type Input, usage } from '../command.ts'
import { durationOption, timeOption } from '../duration.ts'
import { CommandError, EXIT } from '../exit.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'
import { showWarnings } from './resources.ts'

/** Option, field of the resource, what it names. */
const TARGETS: readonly (readonly [option: string, field: string, about: string])[] = [
  ['user', 'user', 'a user'],
  ['role', 'role', 'everybody with a role'],
  ['server-id', 'server_id', 'an agent or proxy, by its id'],
  ['db', 'db', 'a database'],
  ['node', 'node', 'a node, by its name or the id of its agent'],
  ['cert', 'certificate_serial', 'one certificate, by its serial number'],
  ['key', 'key_sha256', 'every certificate of a key, by the SHA-256 of its SPKI'],
  ['login', 'login', 'a login of operating systems'],
]

const WAIT_DEFAULT_S = 30
const ASK_EVERY_MS = 250

export const lock: CommandSpec = {
  options: [
    ...TARGETS.map(([option, , about]) => ({ flags: `--${option} <value>`, about })),
    { flags: '--message <text>', about: 'what those shut out are told' },
    { flags: '--ttl <duration>', about: 'ends after this time; without it stays until removed' },
    { flags: '--expires <time>', about: 'ends at this time, UTC' },
    { flags: '--wait', about: 'until every agent and proxy has it' },
    { flags: '--timeout <seconds>', about: `how long to wait; ${WAIT_DEFAULT_S} when absent` },
  ],
  about: 'Several targets in one lock must all match. Remove it with `tctl rm lock/ID`.',
  examples: [
    'tctl lock --user=mallory --message="call security" --wait',
    'tctl lock --db=orders --ttl=2h',
  ],
  async run(input, tools) {
    const target = targetOf(input)
    const expiresMs = expiresOf(input, tools)
    const message = input.text('message')
    const name = randomUUID()
    const document = {
      kind: 'lock',
      version: 'v2',
      metadata: { name },
      spec: {
        target,
        ...(message === undefined ? {} : { message }),
        ...(expiresMs === undefined ? {} : { expires: new Date(expiresMs).toISOString() }),
      },
    }
    await withAdministrator(tools, input, async (client) => {
      const reply = await client.call('resource-create', { kind: 'lock', document })
      tools.out(`Lock ${name} is in force. Remove it: tctl rm lock/${name}\n`)
      showWarnings(tools, reply.warnings)
      if (input.flag('wait'))
        await waitForAll(client, tools, name, input.whole('timeout', 1, 3600) ?? WAIT_DEFAULT_S)
    })
  },
}

function targetOf(input: Input): Readonly<Record<string, string>> {
  const entries = TARGETS.flatMap(([option, field]) => {
    const value = input.text(option)
    return value === undefined ? [] : [[field, value] as const]
  })
  if (entries.length > 0) return Object.fromEntries(entries)
  throw usage('whom or what to lock?', TARGETS.map(([option]) => `--${option}`).join(', '))
}

function expiresOf(input: Input, tools: Tools): number | undefined {
  const ttlMs = durationOption('ttl', input.text('ttl'))
  const expiresMs = timeOption('expires', input.text('expires'))
  if (ttlMs !== undefined && expiresMs !== undefined) throw usage('--ttl or --expires, not both')
  return ttlMs === undefined ? expiresMs : tools.clock.now() + ttlMs
}

async function waitForAll(
  client: ControlClient,
  tools: Tools,
  name: string,
  seconds: number,
): Promise<void> {
  const endMs = tools.clock.monotonic() + seconds * 1000
  for (;;) {
    const { lacking } = await client.call('lock-receivers', { name })
    if (lacking.length === 0) {
      tools.out('Every agent and proxy has it.\n')
      return
    }
    if (tools.clock.monotonic() >= endMs)
      throw new CommandError(
        `after ${seconds} s ${lacking.length} still lack it: ${lacking.map(({ id, role }) => `${role} ${id}`).join(', ')}`,
        EXIT.failure,
        'They let nobody new in once their view is stale, where locking is strict; `tctl status` shows them.',
      )
    await tools.sleep(ASK_EVERY_MS)
  }
}
