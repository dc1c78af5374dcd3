import { deepEqual } from 'node:assert/strict'
import { test } from 'node:test'

import { Escapes } from './escape.ts'

/** What chunks come to: bytes as text, the rest by name. */
function typed(...chunks: readonly string[]): string {
  const escapes = new Escapes()
  return chunks
    .flatMap((chunk) => escapes.take(Buffer.from(chunk)))
    .map((each) => (each.kind === 'bytes' ? Buffer.from(each.bytes).toString() : `<${each.kind}>`))
    .join('')
}

test('a tilde at the beginning of a line speaks to tsh, also split at each byte', () => {
  for (const [keys, said] of [
    ['~.', '<end>'],
    ['ls\r~.', 'ls\r<end>'],
    ['~?ls\r', '<help>ls\r'],
    ['~?~.', '<help><end>'],
    ['~~.', '~.'],
    ['\n~~x', '\n~x'],
    ['~x', '~x'],
    ['~\r~.', '~\r<end>'],
    ['cd ~\r', 'cd ~\r'],
    ['a~.', 'a~.'],
    ['~.never', '<end>'],
  ] as const) {
    deepEqual(typed(keys), said, keys)
    if (!keys.includes('never')) deepEqual(typed(...keys.split('')), said, `${keys} in pieces`)
  }
})

test('bytes that are no text go through untouched', () => {
  const bytes = Uint8Array.from({ length: 256 }, (_, at) => at)
  const found = new Escapes().take(bytes)
  deepEqual(
    Buffer.concat(found.map((each) => (each.kind === 'bytes' ? each.bytes : Uint8Array.of()))),
    Buffer.from(bytes),
  )
})
