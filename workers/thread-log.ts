// The logger of a worker thread: lines as JSON on stderr, where the process's own go. Threads share no logger with main, so
// that a full pipe blocks nobody but itself; the level is the one main was started with.

import { writeSync } from 'node:fs'
import { env } from 'node:process'

import type { LogFields, Logger } from '../core/log.ts'

const LEVELS = ['debug', 'info', 'warn', 'error'] as const
type Level = (typeof LEVELS)[number]

/** SLUICE_LOG_LEVEL and SLUICE_LOG_FORMAT are set by the process itself, for its threads. */
export function threadLogger(component: string, slot: number): Logger {
  const wanted = LEVELS.find((level) => level === env['SLUICE_LOG_LEVEL']) ?? 'info'
  const json = env['SLUICE_LOG_FORMAT'] === 'json'
  return make({ component, worker: slot }, LEVELS.indexOf(wanted), json)
}

function make(base: LogFields, from: number, json: boolean): Logger {
  const say =
    (level: Level) =>
    (message: string, fields: LogFields = {}): void => {
      if (LEVELS.indexOf(level) >= from) put(line(level, message, { ...base, ...fields }, json))
    }
  return {
    debug: say('debug'),
    info: say('info'),
    warn: say('warn'),
    error: say('error'),
    child: (fields) => make({ ...base, ...fields }, from, json),
  }
}

function line(level: Level, message: string, fields: LogFields, json: boolean): string {
  const time = new Date().toISOString()
  if (json) return `${JSON.stringify({ level, time, ...fields, message })}\n`
  const { component, ...rest } = fields
  const pairs = Object.entries(rest).map(([key, value]) => ` ${key}:${JSON.stringify(value)}`)
  return `${time} ${level.toUpperCase().padEnd(5)} [${String(component).toUpperCase()}] ${message}${pairs.join('')}\n`
}

function put(text: string): void {
  try {
    writeSync(2, text)
  } catch {
    // A closed terminal must not end a thread.
  }
}
