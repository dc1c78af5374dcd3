// `tsh recordings ls`: which sessions can be played. Whoever may list sessions sees all of them.

import type { CommandSpec } from '../command.ts'
import { LIST_OPTIONS, listRecordings } from '../recording/list.ts'
import { withSession } from './session.ts'

export const recordingsLs: CommandSpec = {
  options: LIST_OPTIONS,
  about:
    'Needs a role with the rule {resources: [session], verbs: [list, read]}: the preset auditor has it.',
  examples: ['tsh recordings ls', 'tsh recordings ls --last=8h --format=json'],
  async run(input, tools) {
    await withSession(tools, input, ({ client }) => listRecordings(client, input, tools))
  },
}
