// Exit statuses of tsh, tctl and sluice, and how an error becomes text. docs/command-line.md lists them; scripts rely on them.

import { errorCode, ProxyError } from '../core/errors.ts'

export const EXIT = {
  ok: 0,
  /** Something went wrong that no other status names. */
  failure: 1,
  /** The command line itself is wrong. */
  usage: 2,
  /** Policy, a lock or a limit said no. */
  denied: 3,
  /** No valid certificate: log in first. */
  notLoggedIn: 4,
  /** The proxy, control or the target could not be reached. */
  unreachable: 5,
} as const

export type ExitStatus = (typeof EXIT)[keyof typeof EXIT]

const STATUS_BY_CODE: Readonly<Record<string, ExitStatus>> = {
  'policy.denied': EXIT.denied,
  'login.locked': EXIT.denied,
  'login.failed': EXIT.denied,
  'limit.exceeded': EXIT.denied,
  'cert.expired': EXIT.notLoggedIn,
  'control.unavailable': EXIT.unreachable,
  'dial.failed': EXIT.unreachable,
  'dial.no-agent': EXIT.unreachable,
  'trust.unproven': EXIT.unreachable,
}

/** A failure of a command with the status it ends with. */
export class CommandError extends Error {
  override readonly name = 'CommandError'
  readonly status: ExitStatus
  readonly next: string | undefined

  constructor(message: string, status: ExitStatus = EXIT.failure, next?: string) {
    super(message)
    this.status = status
    this.next = next
  }
}

/** A program we started has said all there is to say; its status becomes ours. */
export class ProgramEnded extends Error {
  override readonly name = 'ProgramEnded'
  readonly status: number

  constructor(status: number) {
    super(`a program ended with status ${status}`)
    this.status = status
  }
}

export function exitStatus(error: unknown): number {
  if (error instanceof CommandError || error instanceof ProgramEnded) return error.status
  const code = errorCode(error)
  return code === undefined ? EXIT.failure : (STATUS_BY_CODE[code] ?? EXIT.failure)
}

// How OpenSSL says that the other end speaks TLS, but not ours, or no TLS at all.
const STRANGERS: ReadonlySet<unknown> = new Set([
  'ERR_SSL_TLSV1_ALERT_NO_APPLICATION_PROTOCOL',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
  'ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION',
])

/** Names the layer that failed where the error alone would blame control: whatever answered is no Sluice proxy. */
export function namedLayer(error: unknown): unknown {
  if (errorCode(error) !== 'control.unavailable' || !(error instanceof Error)) return error
  for (let cause: unknown = error.cause; cause instanceof Error; cause = cause.cause)
    if ('code' in cause && STRANGERS.has(cause.code))
      return new ProxyError('trust.unproven', 'What answers at this address is no Sluice proxy.', {
        cause: error,
        next: 'Check the address and port of --proxy.',
      })
  return error
}

/** `ERROR: what` and, where known, what to do next. Never a stack for an outcome we expect. */
export function errorText(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error)
  const known =
    error instanceof CommandError || error instanceof ProxyError || errorCode(error) !== undefined
  const next = error instanceof CommandError || error instanceof ProxyError ? error.next : undefined
  // What a database said stands as it said it.
  const lines = [/^(?:ERROR|FATAL|PANIC): /.test(message) ? message : `ERROR: ${message}`]
  if (next !== undefined) lines.push(next)
  if (!known && error instanceof Error && error.stack !== undefined) lines.push(error.stack)
  return lines.join('\n')
}
