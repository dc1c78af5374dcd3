// What is thrown when the peer broke a rule or a limit: the connection ends with it.

import { ProxyError } from '../../../core/errors.ts'

export function violation(what: string, cause?: unknown): ProxyError {
  const details = cause === undefined ? {} : { cause }
  const message = `The SSH connection ends: ${what}.`
  return new ProxyError('protocol.violation', message, { side: 'client', ...details })
}
