// `version`, of tsh and tctl alike.

import type { CommandSpec } from '../command.ts'
import { VERSION } from '../version.ts'

export function versionOf(program: string): CommandSpec {
  return {
    examples: [`${program} version`],
    run(_input, tools) {
      tools.out(`Sluice v${VERSION} node ${process.version}\n`)
      return Promise.resolve()
    },
  }
}
