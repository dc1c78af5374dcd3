// The version of this program, as package.json has it.

import { readFileSync } from 'node:fs'

export const VERSION: string = read()

function read(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8')
  const { version } = JSON.parse(text) as { version: string }
  return version
}
