// The logger of our processes: pino, written synchronously to stderr or stdout, as JSON lines or as text for people
// (`time LEVEL [COMPONENT] message key:value`). Fields that could hold a secret are redacted here, once for all.

import { writeSync } from 'node:fs'

import pino from 'pino'
import type { Logger as PinoLogger } from 'pino'

import type { LogFields, Logger } from '../core/log.ts'

export interface LogOptions {
  readonly severity: 'DEBUG' | 'INFO' | 'WARN' | 'WARNING' | 'ERROR'
  readonly format: 'text' | 'json'
  readonly output: 'stderr' | 'stdout'
  readonly component: string
}

const REDACTED = [
  'password',
  'otp',
  'token',
  'key',
  'secret',
  'passphrase',
  'authorization',
  'cookie',
]

export const DEFAULT_LOG: LogOptions = {
  severity: 'INFO',
  format: 'text',
  output: 'stderr',
  component: '',
}

export function createLogger(options: LogOptions): Logger {
  const fd = options.output === 'stdout' ? 1 : 2
  const put =
    options.format === 'json' ? write : (f: number, line: string): void => write(f, asText(line))
  const level = options.severity === 'WARNING' ? 'warn' : options.severity.toLowerCase()
  const logger = pino(
    {
      level,
      base: options.component === '' ? {} : { component: options.component },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      messageKey: 'message',
      redact: { paths: REDACTED, censor: '[redacted]' },
    },
    { write: (line: string) => put(fd, line) },
  )
  return wrap(logger)
}

function wrap(logger: PinoLogger): Logger {
  const say =
    (level: 'debug' | 'info' | 'warn' | 'error') =>
    (message: string, fields: LogFields = {}): void =>
      logger[level](fields, message)
  return {
    debug: say('debug'),
    info: say('info'),
    warn: say('warn'),
    error: say('error'),
    child: (fields) => wrap(logger.child(fields)),
  }
}

/** A full pipe or a closed terminal must not end a proxy. */
function write(fd: number, line: string): void {
  try {
    writeSync(fd, line)
  } catch {
    // There is nowhere left to say it.
  }
}

function asText(line: string): string {
  const { time, level, message, component, ...fields } = JSON.parse(line) as Record<string, unknown>
  const name = typeof component === 'string' ? ` [${component.toUpperCase()}]` : ''
  const rest = Object.entries(fields).map(([key, value]) => ` ${key}:${valueText(value)}`)
  return `${String(time)} ${String(level).toUpperCase().padEnd(5)}${name} ${String(message)}${rest.join('')}\n`
}

function valueText(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value)
  return /^[\w.:/@+-]+$/.test(text) ? text : JSON.stringify(text)
}
