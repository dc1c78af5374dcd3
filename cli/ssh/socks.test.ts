import { deepEqual, equal } from 'node:assert/strict'
import { test } from 'node:test'

import { readGreeting, readRequest, writeReply } from './socks.ts'

test('a greeting that offers no authentication is taken, at whatever byte it is split', () => {
  const greeting = Uint8Array.of(5, 2, 2, 0, 99)
  for (let to = 0; to < 4; to++) equal(readGreeting(greeting.subarray(0, to)).verdict, 'more')
  deepEqual(readGreeting(greeting), {
    verdict: 'ok',
    value: undefined,
    end: 4,
    answer: Uint8Array.of(5, 0),
  })
})

test('other versions, and programs that insist on a password, are refused', () => {
  equal(readGreeting(Uint8Array.of(4, 1, 0, 80)).verdict, 'bad')
  deepEqual(readGreeting(Uint8Array.of(5, 1, 2)), {
    verdict: 'bad',
    answer: Uint8Array.of(5, 0xff),
  })
  deepEqual(readGreeting(Uint8Array.of(5, 0)), { verdict: 'bad', answer: Uint8Array.of(5, 0xff) })
})

test('addresses of each kind are read, at whatever byte they are split', () => {
  for (const [address, host] of [
    [[1, 192, 0, 2, 7], '192.0.2.7'],
    [[3, 11, ...Buffer.from('example.com')], 'example.com'],
    [
      [4, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
      '2001:0db8:0000:0000:0000:0000:0000:0009',
    ],
  ] as const) {
    const request = Uint8Array.of(5, 1, 0, ...address, 0x1f, 0x90)
    for (let to = 0; to < request.length; to++)
      equal(readRequest(request.subarray(0, to)).verdict, 'more', `${host} ${to}`)
    deepEqual(readRequest(Uint8Array.of(...request, 1)), {
      verdict: 'ok',
      value: { host, port: 8080 },
      end: request.length,
      answer: writeReply('done'),
    })
  }
})

test('other commands and addresses are refused with the answer the standard has', () => {
  for (const [request, reply] of [
    [[5, 2, 0, 1, 1, 2, 3, 4, 0, 80], 7],
    [[5, 3, 0, 1, 1, 2, 3, 4, 0, 80], 7],
    [[5, 1, 0, 2, 1, 2, 3, 4, 0, 80], 8],
    [[5, 1, 0, 3, 0, 0, 80], 8],
    [[5, 1, 0, 3, 1, 0, 0, 80], 8],
  ] as const) {
    const reading = readRequest(Uint8Array.from(request))
    equal(reading.verdict, 'bad')
    equal(reading.verdict === 'bad' ? reading.answer[1] : -1, reply)
  }
})
