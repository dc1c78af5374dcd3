// `tctl explain`: why a decision came out as it did — each role considered, the first rule that did not match, the smallest change
// that would allow it. People who are no auditors see the redacted form of their own decisions.

import { type CommandSpec, formatOption, usage } from '../command.ts'
import { colour, FORMATS, printable, render, timeText } from '../render.ts'
import { withAdministrator } from './administrator.ts'

export const explain: CommandSpec = {
  takes: '<id>',
  options: [formatOption()],
  about: 'The id stands in every denial and in the audit log (decision_id).',
  examples: ['tctl explain 01K3Z5J8Q4N6R7S8T9V0W1X2Y3'],
  async run(input, tools) {
    const id = input.arg(0).toUpperCase()
    if (!/^[0-9A-HJKMNP-TV-Z]{26}$/.test(id)) throw usage(`"${input.arg(0)}" is no decision id`)
    const decision = await withAdministrator(tools, input, (client) =>
      client.call('decision', { id }),
    )
    const format = input.choice('format', FORMATS, 'text')
    const { allowed, user, target, timeMs, reason, next, text } = decision
    const lines = (whole: string): string => whole.split('\n').map(printable).join('\n').trimEnd()
    tools.out(
      await render(format, decision, () =>
        [
          `Decision ${id} of ${timeText(timeMs)}`,
          `${user === '' ? 'Somebody who proved nothing' : printable(user)} to ${printable(target)}: ${allowed ? colour('green', 'allowed') : colour('red', 'denied')}`,
          ...(reason === '' ? [] : [printable(reason)]),
          // Who sees the roles needs no hint to ask somebody.
          ...(next === undefined || text !== undefined ? [] : [printable(next)]),
          ...(text === undefined ? [] : ['', lines(text)]),
          '',
        ].join('\n'),
      ),
    )
  },
}
