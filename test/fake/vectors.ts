// Reads recorded exchanges: one message a line, hexadecimal, `>` from client to server, `<` back, the line above names it.

import { readFileSync } from 'node:fs'

import type { Side } from '../../core/protocol.ts'

export interface Recorded {
  readonly name: string
  readonly from: Side
  readonly bytes: Buffer
}

export function readVector(url: URL): Recorded[] {
  const recorded: Recorded[] = []
  let name = ''
  for (const line of readFileSync(url, 'utf8').split('\n')) {
    if (line.startsWith('#')) name = line.slice(2)
    const [direction, ...hex] = line.split(' ')
    if (direction !== '>' && direction !== '<') continue
    const bytes = Buffer.from(hex.join(''), 'hex')
    if (bytes.length * 2 !== hex.join('').length) throw new Error(`not hexadecimal: ${line}`)
    recorded.push({ name, from: direction === '>' ? 'client' : 'target', bytes })
  }
  if (recorded.length === 0) throw new Error(`nothing recorded in ${url.pathname}`)
  return recorded
}
