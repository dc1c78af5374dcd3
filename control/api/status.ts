// Errors as HTTP says them: one status per code, one body. What is not a ProxyError is a defect of ours: it is logged, and the
// caller learns only that.

import { errorCode, ProxyError } from '../../core/errors.ts'
import type { ErrorCode } from '../../core/errors.ts'
import type { ApiError } from './messages.ts'

const STATUS: Readonly<Partial<Record<ErrorCode, number>>> = {
  'login.failed': 401,
  'cert.chain': 401,
  'cert.expired': 401,
  'cert.identity': 401,
  'cert.malformed': 400,
  'cert.purpose': 403,
  'login.locked': 403,
  'policy.denied': 403,
  'signer.refused': 403,
  'resource.not-found': 404,
  'resource.conflict': 409,
  'resource.invalid': 400,
  'protocol.violation': 400,
  'limit.exceeded': 429,
}

/** What a route answers for an error. `defect`: nobody foresaw it. */
export function describeError(error: unknown): { status: number; body: ApiError; defect: boolean } {
  const code = errorCode(error)
  if (code === undefined || !(error instanceof Error))
    return {
      status: 500,
      defect: true,
      body: {
        error: { code: 'control.unavailable', message: 'Control failed; its log says why.' },
      },
    }
  const next = error instanceof ProxyError ? error.next : undefined
  return {
    status: STATUS[code] ?? 503,
    defect: false,
    body: { error: { code, message: error.message, ...(next === undefined ? {} : { next }) } },
  }
}
