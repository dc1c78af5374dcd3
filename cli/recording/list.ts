// The list of recordings, the same for `tsh` and `tctl`: of a span of time, newest first.

import type { ControlClient } from '../../control/api/client.ts'
import type { Recording, RecordingQuery } from '../../control/api/recording-messages.ts'
import { max } from '../../core/limits.ts'
import { formatOption, type Input, type Option } from '../command.ts'
import { durationOption, timeOption } from '../duration.ts'
import { FORMATS, render, table, timeText } from '../render.ts'
import type { Tools } from '../tools.ts'

const SHOWN_DEFAULT = 50
const SHOWN_MAX = 100_000

export const LIST_OPTIONS: readonly Option[] = [
  formatOption(),
  { flags: '--last <duration>', about: 'only the last 30m, 8h, 7d …' },
  { flags: '--from-utc <time>', about: 'sessions that ended from this time on' },
  { flags: '--to-utc <time>', about: 'sessions that ended before this time' },
  { flags: '--limit <count>', about: `how many; ${SHOWN_DEFAULT} when absent` },
]

export async function listRecordings(
  client: ControlClient,
  input: Input,
  tools: Tools,
): Promise<void> {
  const last = durationOption('last', input.text('last'))
  const fromMs =
    timeOption('from-utc', input.text('from-utc')) ??
    (last === undefined ? undefined : tools.clock.now() - last)
  const toMs = timeOption('to-utc', input.text('to-utc'))
  const span = {
    ...(fromMs === undefined ? {} : { fromMs }),
    ...(toMs === undefined ? {} : { toMs }),
  }
  const items = await pages(client, span, input.whole('limit', 1, SHOWN_MAX) ?? SHOWN_DEFAULT)
  const format = input.choice('format', FORMATS, 'text')
  tools.out(await render(format, items, () => recordingsTable(items)))
}

async function pages(
  client: ControlClient,
  span: RecordingQuery,
  most: number,
): Promise<readonly Recording[]> {
  const items: Recording[] = []
  for (let after: string | undefined; ; ) {
    const page = await client.call('recording-list', {
      ...span,
      limit: Math.min(most - items.length, max('apiPageMax')),
      ...(after === undefined ? {} : { after }),
    })
    items.push(...page.items)
    after = page.next
    if (after === undefined || items.length >= most) return items
  }
}

function recordingsTable(items: readonly Recording[]): string {
  if (items.length === 0) return 'No recordings.\n'
  return table(
    ['Session', 'Kind', 'User', 'Target', 'As', 'Began', 'Seconds', 'Ended because'],
    items.map((item) => [
      item.sid,
      item.kind,
      item.user,
      item.target,
      item.principal,
      timeText(item.startedAtMs),
      String(Math.max(0, Math.round((item.endedAtMs - item.startedAtMs) / 1000))),
      item.reason,
    ]),
  )
}
