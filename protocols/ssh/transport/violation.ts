// What a connection ends with: the peer broke a rule or a limit, the layer below failed, or it is simply over.

import { errorCode, ProxyError } from '../../../core/errors.ts'

export function violation(what: string, cause?: unknown): ProxyError {
  const details = cause === undefined ? {} : { cause }
  const message = `The SSH connection ends: ${what}.`
  return new ProxyError('protocol.violation', message, { side: 'client', ...details })
}

export function gone(): ProxyError {
  return new ProxyError('protocol.violation', 'The SSH connection is over.', { side: 'client' })
}

/** What ssh2 or the stream threw. A message may quote the peer: it is for the log, cut and without control characters. */
export function failure(error: unknown): ProxyError {
  if (error instanceof ProxyError && errorCode(error) !== 'cert.malformed') return error
  const text = error instanceof Error ? error.message : 'unknown'
  const detail = text.replace(/[^\x20-\x7e]/g, '?').slice(0, 200)
  const message = 'The SSH connection ends: the transport layer failed.'
  return new ProxyError('protocol.violation', message, { side: 'client', cause: error, detail })
}
