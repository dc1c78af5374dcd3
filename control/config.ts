// sluice.yaml: read, checked, completed with defaults. Unknown keys are refused with their line, known ones that are not built
// yet by name. Every process of a machine reads the same file.

import type * as z from 'zod'

import { type ConfigDocument, invalid, readConfigDocument } from './config/document.ts'
import { configSchema } from './config/schema.ts'
import type { ConfigFile } from './config/types.ts'
import { UNBUILT_KEYS, UNBUILT_SERVICES } from './config/unbuilt.ts'

export type { ConfigFile, DatabaseConfig } from './config/types.ts'
export { invalid as invalidConfig } from './config/document.ts'
export { durationMs } from './config/duration.ts'
export { sizeBytes } from './config/size.ts'

/** Where the configuration is looked for when nobody names a file. */
export const DEFAULT_CONFIG_FILE = '/etc/sluice.yaml'

/** Reads the text of a configuration. Throws ProxyError `config.invalid` that names file and line. */
export function loadConfig(text: string, file: string): ConfigFile {
  const document = readConfigDocument(text, file)
  const sections = asSections(document, file)
  const parsed = configSchema.safeParse(sections)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw complaint(document, file, sections, issue)
}

type Sections = Readonly<Record<string, unknown>>

/** Top level with `teleport` renamed and disabled unbuilt services dropped. */
function asSections(document: ConfigDocument, file: string): Sections {
  const value = document.value ?? {}
  if (typeof value !== 'object' || Array.isArray(value))
    throw invalid(file, 1, 'the file must be a map of sections')
  const sections: Record<string, unknown> = {}
  for (const [name, section] of Object.entries(value)) {
    if (UNBUILT_SERVICES.has(name)) {
      refuseEnabled(name, section, document.line([name]), file)
      continue
    }
    const ours = name === 'teleport' ? 'sluice' : name
    if (ours in sections)
      throw invalid(
        file,
        document.line([name]),
        '`sluice` and `teleport` are the same section; keep one',
      )
    sections[ours] = section ?? {}
  }
  return sections
}

function refuseEnabled(name: string, section: unknown, line: number, file: string): void {
  const enabled =
    typeof section === 'object' && section !== null && 'enabled' in section
      ? section.enabled
      : undefined
  if (enabled === false || enabled === 'no' || enabled === 'off') return
  throw invalid(file, line, `${name} is not built yet; remove the section or set \`enabled: no\``)
}

function complaint(
  document: ConfigDocument,
  file: string,
  sections: Sections,
  issue: z.core.$ZodIssue | undefined,
): Error {
  if (issue === undefined) return invalid(file, 1, 'the configuration is not valid')
  const named = issue.path.map((step) =>
    step === 'sluice' && !hasKey(document.value, 'sluice') ? 'teleport' : step,
  )
  if (issue.code !== 'unrecognized_keys') {
    const where = named.length === 0 ? '' : `${named.join('.')}: `
    return invalid(file, document.line(named), `${where}${issue.message}`)
  }
  const [key = ''] = issue.keys
  const line = document.line([...named, key])
  const section = issue.path[1] === 'databases' ? 'database' : String(issue.path[0] ?? '')
  const unbuilt = UNBUILT_KEYS[section]?.has(key) === true
  const full = [...named, key].join('.')
  return invalid(
    file,
    line,
    unbuilt
      ? `${full} is known but not built yet; remove it`
      : `${full} is not a known key${hint(sections, key)}`,
  )
}

/** A key at the top level that belongs to the global section is the usual slip. */
function hint(sections: Sections, key: string): string {
  return key in sections && !key.endsWith('_service')
    ? ' here; did you mean it inside `sluice:`?'
    : ''
}

function hasKey(value: unknown, key: string): boolean {
  return typeof value === 'object' && value !== null && key in value
}
