import { equal, ok } from 'node:assert/strict'
import { test } from 'node:test'

import { ERROR_CODES, ProxyError } from '../core/errors.ts'
import { CommandError, errorText, EXIT, exitStatus, namedLayer, ProgramEnded } from './exit.ts'

test('statuses are what docs/command-line.md says', () => {
  equal(exitStatus(new Error('x')), 1)
  equal(exitStatus(new CommandError('x', EXIT.usage)), 2)
  equal(exitStatus(new ProxyError('policy.denied', 'x')), 3)
  equal(exitStatus(new ProxyError('login.failed', 'x')), 3)
  equal(exitStatus(new ProxyError('login.locked', 'x')), 3)
  equal(exitStatus(new ProxyError('limit.exceeded', 'x')), 3)
  equal(exitStatus(new ProxyError('cert.expired', 'x')), 4)
  equal(exitStatus(new ProxyError('control.unavailable', 'x')), 5)
  equal(exitStatus(new ProxyError('dial.failed', 'x')), 5)
  equal(exitStatus(new ProxyError('trust.unproven', 'x')), 5)
  equal(exitStatus(new ProgramEnded(77)), 77)
})

test('every code ends with one of the statuses', () => {
  const known = new Set<number>(Object.values(EXIT))
  for (const code of Object.keys(ERROR_CODES)) ok(known.has(exitStatus({ code })), code)
})

test('an error copied from another thread keeps its status', () => {
  equal(exitStatus({ code: 'policy.denied', message: 'x' }), 3)
})

test('an outcome we expect is a sentence and the next step, never a stack', () => {
  equal(
    errorText(new ProxyError('dial.failed', 'nobody there', { next: 'Look.' })),
    'ERROR: nobody there\nLook.',
  )
  equal(errorText(new CommandError('no', EXIT.usage)), 'ERROR: no')
})

test('a defect of ours shows its stack', () => {
  ok(errorText(new TypeError('x is not a function')).includes('exit.test.ts'))
})

test('what a database said stands as it said it', () => {
  equal(errorText(new CommandError('FATAL:  denied by Sluice')), 'FATAL:  denied by Sluice')
})

test('an answer that is not ours is not blamed on control', () => {
  const tls = Object.assign(new Error('wrong version number'), {
    code: 'ERR_SSL_WRONG_VERSION_NUMBER',
  })
  const away = new ProxyError('control.unavailable', 'The proxy answers, but control does not.', {
    cause: new Error('handshake', { cause: tls }),
  })
  const named = namedLayer(away)
  equal(exitStatus(named), EXIT.unreachable)
  ok(errorText(named).startsWith('ERROR: What answers at this address is no Sluice proxy.'))
})

test('other failures pass unchanged', () => {
  const reset = new ProxyError('control.unavailable', 'x', {
    cause: Object.assign(new Error('reset'), { code: 'ECONNRESET' }),
  })
  for (const error of [reset, new ProxyError('dial.failed', 'x'), new Error('x'), 'text'])
    equal(namedLayer(error), error)
})
