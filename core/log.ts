// The logger every part is given. Structured fields, one line per outcome; no secret, no session byte, no stack of an expected outcome.

export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>

export interface Logger {
  debug(message: string, fields?: LogFields): void
  info(message: string, fields?: LogFields): void
  warn(message: string, fields?: LogFields): void
  error(message: string, fields?: LogFields): void
  /** A logger that adds fields to every line (`component`, `worker`, …). */
  child(fields: LogFields): Logger
}

/** Says nothing; for tests that do not look at logs. */
export const silentLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => silentLogger,
}
