// `~/.pg_service.conf`: the file libpq reads for `service=NAME`. We write one section per database and touch nothing else:
// other sections, comments and blank lines stay byte for byte (PostgreSQL manual, "The Connection Service File").

import { realpathSync, statSync } from 'node:fs'
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
  replace(file, withService(readText(file) ?? '', name, settings))
}

/** Removes the section of `name`, if there is one. */
export function removeService(file: string, name: string): void {
  const text = readText(file)
  if (text === undefined) return
  const without = withoutService(text, name)
  if (without !== text) replace(file, without)
}

/** The file may be a link into somebody's dotfiles, with a mode of its own: both stay. */
function replace(file: string, text: string): void {
  const found = statSync(file, { throwIfNoEntry: false })
  writeWhole(found === undefined ? file : realpathSync(file), text, found && found.mode & 0o777)
}

/**
 * `text` with the section of `name` as given; every byte of other sections as it was. The section itself is ours: its settings are
 * replaced, comments and blank lines in it stay, behind them.
 */
export function withService(text: string, name: string, settings: ServiceSettings): string {
  const section = [
    `[${name}]`,
    ...Object.entries(settings).map(([key, value]) => `${key}=${value}`),
  ].join('\n')
  const found = locate(text, name)
  if (found !== undefined) return `${found.before}${section}\n${found.remarks}${found.behind}`
  const gap = text === '' || text.endsWith('\n\n') ? '' : text.endsWith('\n') ? '\n' : '\n\n'
  return `${text}${gap}${section}\n`
}

/** `text` without the section of `name`; its comments stay. */
export function withoutService(text: string, name: string): string {
  const found = locate(text, name)
  return found === undefined ? text : found.before + found.remarks + found.behind
}

/** The settings of a section; undefined when the text has none of that name. */
export function readService(text: string, name: string): ServiceSettings | undefined {
  return locate(text, name)?.settings
}

const SETTING = /^([a-z_]+)=(.*)$/

interface Section {
  readonly before: string
  readonly settings: ServiceSettings
  /** Comments and blank lines of the section. */
  readonly remarks: string
  readonly behind: string
}

/** White space around a line means nothing to libpq; of two sections or settings of one name the first counts. */
function locate(text: string, name: string): Section | undefined {
  const lines = text.split(/(?<=\n)/)
  const from = lines.findIndex((line) => line.trim().startsWith(`[${name}]`))
  if (from < 0) return undefined
  const next = lines.findIndex((line, at) => at > from && line.trim().startsWith('['))
  const to = next < 0 ? lines.length : next
  const settings = new Map<string, string>()
  let remarks = ''
  for (const line of lines.slice(from + 1, to)) {
    const [, key, value = ''] = SETTING.exec(line.trim()) ?? []
    if (key === undefined) remarks += line
    else if (!settings.has(key)) settings.set(key, value)
  }
  return {
    before: lines.slice(0, from).join(''),
    settings: Object.fromEntries(settings),
    remarks,
    behind: lines.slice(to).join(''),
  }
}
