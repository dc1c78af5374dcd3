import { deepEqual, throws } from 'node:assert/strict'
import { test } from 'node:test'

import { readOptions } from './options.ts'

test('options of OpenSSH that mean something are read, in either spelling', () => {
  const env = { LANG: 'de_DE.UTF-8', HOME: '/home' }
  deepEqual(readOptions([], env), { env: {} })
  deepEqual(
    readOptions(
      [
        'ForwardAgent=yes',
        'requesttty force',
        'StrictHostKeyChecking=yes',
        'SendEnv LANG LC_NONE',
        'SetEnv=A=b=c',
      ],
      env,
    ),
    { forwardAgent: true, requestTty: 'yes', env: { LANG: 'de_DE.UTF-8', A: 'b=c' } },
  )
  deepEqual(readOptions(['ForwardAgent=yes', 'ForwardAgent=no'], env), {
    forwardAgent: false,
    env: {},
  })
})

test('an option that would be silently nothing, or would weaken, is refused by name', () => {
  for (const option of [
    'ProxyJump=a',
    'StrictHostKeyChecking=no',
    'StrictHostKeyChecking=accept-new',
    'ForwardAgent=maybe',
    'RequestTTY=',
    'SetEnv=1=x',
    'UserKnownHostsFile=/dev/null',
    '',
    'ForwardAgent',
  ])
    throws(() => readOptions([option], {}), { status: 2 }, option)
})
