// `~/.pg_service.conf`: the file libpq reads for `service=NAME`. We write one section per database and touch nothing else:
// other sections, comments and blank lines stay byte for byte (PostgreSQL manual, "The Connection Service File").

import os from 'node:os'
import path from 'node:path'

import { readText, writeWhole } from './profile.ts'

/** Settings of one section, in the order they are written. */
export type ServiceSettings = Readonly<Record<string, string>>

/** The file libpq reads: PGSERVICEFILE, else ~/.pg_service.conf. */
export function serviceFile(
  env: Readonly<Record<string, string | undefined>> = process.env,
): string {
  return env['PGSERVICEFILE'] ?? path.join(os.homedir(), '.pg_service.conf')
}

/** Writes or replaces the section of `name`. */
export function writeService(file: string, name: string, settings: ServiceSettings): void {
  writeWhole(file, withService(readText(file) ?? '', name, settings))
}

/** Removes the section of `name`, if there is one. */
export function removeService(file: string, name: string): void {
  const text = readText(file)
  if (text !== undefined) writeWhole(file, withoutService(text, name))
}

/** `text` with the section of `name` as given; every other byte as it was. */
export function withService(text: string, name: string, settings: ServiceSettings): string {
  const section = [
    `[${name}]`,
    ...Object.entries(settings).map(([key, value]) => `${key}=${value}`),
  ].join('\n')
  const found = locate(text, name)
  if (found !== undefined) return `${text.slice(0, found.from)}${section}\n${text.slice(found.to)}`
  const gap = text === '' || text.endsWith('\n\n') ? '' : text.endsWith('\n') ? '\n' : '\n\n'
  return `${text}${gap}${section}\n`
}

/** `text` without the section of `name`. */
export function withoutService(text: string, name: string): string {
  const found = locate(text, name)
  return found === undefined ? text : text.slice(0, found.from) + text.slice(found.to)
}

/** The settings of a section; undefined when the text has none of that name. */
export function readService(text: string, name: string): ServiceSettings | undefined {
  const found = locate(text, name)
  if (found === undefined) return undefined
  const lines = text.slice(found.from, found.to).split('\n').slice(1)
  const settings = lines.map((line) => SETTING.exec(line.trim())).filter((match) => match !== null)
  return Object.fromEntries(settings.map(([, key = '', value = '']) => [key, value]))
}

const SETTING = /^([a-z_]+)=(.*)$/

/**
 * Where a section stands: from its header to its last setting. Comments and blank lines behind the last setting belong to
 * whoever wrote them, so they stay. White space around a line means nothing to libpq, and of two sections the first wins.
 */
function locate(text: string, name: string): { from: number; to: number } | undefined {
  let at = 0
  let from: number | undefined
  let to = 0
  for (const line of text.split(/(?<=\n)/)) {
    const bare = line.trim()
    const header = bare.startsWith('[')
    if (header && from !== undefined) break
    at += line.length
    if (header && bare.startsWith(`[${name}]`)) {
      from = at - line.length
      to = at
    } else if (from !== undefined && SETTING.test(bare)) to = at
  }
  return from === undefined ? undefined : { from, to }
}
