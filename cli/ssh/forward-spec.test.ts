import { deepEqual, throws } from 'node:assert/strict'
import { test } from 'node:test'

import { readDynamic, readForward } from './forward-spec.ts'

test('forwardings are read as OpenSSH writes them', () => {
  for (const [text, from, to] of [
    ['8080:db:5432', ['127.0.0.1', 8080], ['db', 5432]],
    ['0.0.0.0:8080:10.0.0.1:80', ['0.0.0.0', 8080], ['10.0.0.1', 80]],
    ['[::1]:8080:[2001:db8::1]:80', ['::1', 8080], ['2001:db8::1', 80]],
    ['*:8080:db:80', ['', 8080], ['db', 80]],
    [':8080:db:80', ['', 8080], ['db', 80]],
  ] as const)
    deepEqual(readForward(text, 'L'), {
      from: { host: from[0], port: from[1] },
      to: { host: to[0], port: to[1] },
    })
  deepEqual(readForward('0:db:80', 'R').from, { host: '127.0.0.1', port: 0 })
  deepEqual(readDynamic('1080'), { host: '127.0.0.1', port: 1080 })
  deepEqual(readDynamic('[::1]:1080'), { host: '::1', port: 1080 })
})

test('what is no forwarding is refused with how to write one', () => {
  for (const text of ['', '80', 'db:80', '8080:db', '8080:db:0', '70000:db:80', '0:db:80'])
    throws(() => readForward(text, 'L'), /Write -L|is no forwarding/, text)
  for (const text of ['a:8080:db:80:1', '8080:db:x', '[::1:80:db:80', '8080:[db:80'])
    throws(() => readForward(text, 'L'), /is no forwarding/, text)
  for (const text of ['', 'x', '0', '1:2:3', '65536']) throws(() => readDynamic(text), /is no port/)
})
