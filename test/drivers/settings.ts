// Where a driver's program is to connect to, from its environment, and how it tells what it saw: one line for each step.

import { readFileSync } from 'node:fs'
import net from 'node:net'

export interface Settings {
  readonly host: string
  readonly port: number
  readonly user: string
  readonly database: string
  /** Absent: in clear, on this machine. */
  readonly ssl:
    | {
        readonly ca: string
        readonly cert: string
        readonly key: string
        /** The name to ask for and to be shown; an address is not asked for, only shown. */
        readonly servername?: string
        readonly host?: string
      }
    | undefined
}

export function settingsFromEnvironment(): Settings {
  const read = (name: string): string => {
    const value = process.env[name]
    if (value === undefined) throw new Error(`${name} is not set`)
    return value
  }
  const file = (name: string): string => readFileSync(read(name), 'utf8')
  const ssl = (): Settings['ssl'] => {
    const name = read('DRIVER_SERVERNAME')
    return {
      ca: file('DRIVER_CA'),
      cert: file('DRIVER_CERT'),
      key: file('DRIVER_KEY'),
      ...(net.isIP(name) === 0 ? { servername: name } : { host: name }),
    }
  }
  return {
    host: read('DRIVER_HOST'),
    port: Number(read('DRIVER_PORT')),
    user: read('DRIVER_USER'),
    database: read('DRIVER_DATABASE'),
    ssl: process.env['DRIVER_CA'] === undefined ? undefined : ssl(),
  }
}

export function tell(step: string, result: unknown): void {
  console.log(`${step}: ${typeof result === 'string' ? result : JSON.stringify(result)}`)
}

/** The fields of an error that a program may act on. */
export function errorFields(error: unknown): Readonly<Record<string, unknown>> {
  if (!(error instanceof Error)) throw new Error('no error', { cause: error })
  const fields: Record<string, unknown> = { message: error.message }
  for (const name of ['code', 'severity', 'detail', 'table', 'constraint', 'position'])
    fields[name] = Reflect.get(error, name) ?? Reflect.get(error, `${name}_name`)
  return fields
}
