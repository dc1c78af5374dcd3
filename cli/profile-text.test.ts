import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'

import fc from 'fast-check'
import { parse, stringify } from 'yaml'

import { readPlain } from './profile-text.ts'

const WRITTEN = stringify({
  web_proxy_addr: 'proxy.example.com:443',
  user: 'alice',
  cluster: 'example.com',
  ca_pins: ['sha256:03c1774d2038a3e7', 'sha256:04'],
  proxies: ['proxy.example.com:443', '127.0.0.1:3080'],
  tls_routing_enabled: true,
})

test('what a login writes is read as YAML reads it', () => {
  deepEqual(readPlain(WRITTEN), parse(WRITTEN))
})

test('what is more than plain is left to YAML', () => {
  for (const text of [
    'user: "alice"',
    'user: 123',
    'user: null',
    'user: True',
    'user: [a]',
    'user:',
    'user: a\nuser: b',
    'user: a # b',
    'user: &a b',
    'proxies:\n  - "[::1]:443"',
    'proxies:\n  - a: b',
    '  - a',
    'user: a:',
  ])
    equal(readPlain(text), undefined, text)
})

test('no text is read otherwise than YAML reads it', () => {
  const word = fc
    .array(
      fc.constantFrom(
        'a',
        'no',
        'true',
        ':',
        '1',
        '.',
        '-',
        '@',
        '#',
        '0x',
        '"',
        '&',
        '~',
        '127.0.0.1:1',
      ),
      {
        minLength: 1,
        maxLength: 3,
      },
    )
    .map((parts) => parts.join(''))
  const line = fc.oneof(
    fc
      .tuple(fc.constantFrom('user: ', 'x: ', '  - ', ' - ', ''), word)
      .map((parts) => parts.join('')),
    fc.constantFrom('user:', 'x:', '', '  ', '---'),
  )
  let read = 0
  fc.assert(
    fc.property(fc.array(line, { maxLength: 3 }), (lines) => {
      const text = lines.join('\n')
      const plain = readPlain(text)
      if (plain === undefined || text.trim() === '') return
      read++
      deepEqual(plain, parse(text))
    }),
    { numRuns: 20_000 },
  )
  equal(read > 100, true)
})
