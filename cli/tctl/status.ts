// `tctl status`: the cluster, its CAs and pins, who is joined and who lags behind.

import type { Member, Status } from '../../control/api/messages.ts'
import { type CommandSpec, formatOption } from '../command.ts'
import { colour, FORMATS, printable, render, table, timeText } from '../render.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'

export const status: CommandSpec = {
  options: [formatOption()],
  examples: ['tctl status', 'tctl status --format=json'],
  async run(input, tools) {
    const status = await withAdministrator(tools, input, (client) => client.call('status', {}))
    const format = input.choice('format', FORMATS, 'text')
    tools.out(await render(format, status, () => statusText(status, tools)))
  },
}

function statusText(status: Status, tools: Tools): string {
  const head = [
    `Cluster:  ${status.cluster}`,
    `Version:  ${status.version}`,
    ...status.pins.map((pin, at) => `${at === 0 ? 'CA pins:' : '        '}  ${pin}`),
    `Audit:    ${status.audit.count} records, head ${status.audit.head}`,
    ...recordingsLines(status),
    ...(status.insecureKeys
      ? [colour('red', 'CA keys lie in clear on disk (insecure_keys); not for production.')]
      : []),
    '',
  ]
  const authorities = table(
    ['Authority', 'Rotation', 'Protocol', 'Algorithm', 'Storage', 'Expires'],
    status.authorities.map((row) => [
      row.type,
      row.rotation,
      row.protocol,
      row.algorithm,
      row.storage,
      // Keys without a certificate do not expire by themselves.
      row.expiresAtMs === 0 ? '-' : timeText(row.expiresAtMs),
    ]),
  )
  return [
    ...head,
    authorities,
    membersText('Proxies', status.proxies, status.stale, tools),
    membersText('Agents', status.agents, status.stale, tools),
  ].join('\n')
}

/** What members said last; those of sessions that still run are among them. */
function recordingsLines({ agents, proxies }: Status): readonly string[] {
  const atRisk = [...agents, ...proxies].filter((member) => member.recordingsAtRisk > 0)
  if (atRisk.length === 0) return []
  const total = atRisk.reduce((sum, member) => sum + member.recordingsAtRisk, 0)
  const hosts = atRisk.map((member) => `${member.hostname} (${member.recordingsAtRisk})`)
  return [
    colour(
      'yellow',
      `Recordings at risk: ${total}, on ${hosts.map(printable).join(', ')} and not here yet`,
    ),
  ]
}

/** Stale members hold an older snapshot or lock set than control, or were not heard of. */
function membersText(
  title: string,
  members: readonly Member[],
  stale: readonly string[],
  tools: Tools,
): string {
  if (members.length === 0) return `No ${title.toLowerCase()} have joined.\n`
  const rows = members.map((member) => [
    member.hostname,
    member.id,
    member.services.join(','),
    member.address,
    linkText(member, tools),
    stale.includes(member.id) ? 'stale' : 'current',
  ])
  return table([title, 'ID', 'Services', 'Address', 'Link', 'Trust'], rows)
}

function linkText({ online, lastSeenMs }: Member, tools: Tools): string {
  if (online) return 'online'
  // Control forgets it when it starts.
  return lastSeenMs === 0
    ? 'not seen yet'
    : `last seen ${agoText(tools.clock.now() - lastSeenMs)} ago`
}

function agoText(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000))
  return seconds < 120 ? `${seconds}s` : `${Math.round(seconds / 60)}m`
}
