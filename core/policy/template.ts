// Templates of roles: `{{internal.db_users}}`, `app-{{external.team}}`, `{{email.local(external.email)}}`,
// `{{regexp.replace(external.login, "^x-(.*)$", "$1")}}`. One expression per entry, with text around it.
// What comes out is text, never a pattern and never a template again: a trait may come from an identity provider.

import type { UserIdentity } from '../identity.ts'
import type { Regex } from './regex.ts'
import { compileRegex } from './regex.ts'
import { replaceRegex } from './regex-replace.ts'

/** Traits that `internal` knows; anything else there is a typing error. */
export const INTERNAL_TRAITS = [
  'logins',
  'windows_logins',
  'kubernetes_groups',
  'kubernetes_users',
  'db_names',
  'db_users',
  'db_roles',
  'aws_role_arns',
  'azure_identities',
  'gcp_service_accounts',
  'github_orgs',
  'mcp_tools',
] as const

export interface Template {
  readonly prefix: string
  readonly suffix: string
  readonly space: 'internal' | 'external'
  readonly trait: string
  readonly change:
    | { readonly kind: 'none' }
    | { readonly kind: 'email-local' }
    | { readonly kind: 'replace'; readonly regex: Regex; readonly by: string }
}

const NAME = '[A-Za-z0-9_.:/-]+'
const VARIABLE = new RegExp(`^(internal|external)(?:\\.(${NAME})|\\["(${NAME})"\\])$`)
const EMAIL_LOCAL = /^email\.local\((.+)\)$/
const REPLACE =
  /^regexp\.replace\(\s*([^,]+?)\s*,\s*("(?:[^"\\]|\\.)*")\s*,\s*("(?:[^"\\]|\\.)*")\s*\)$/

/** Whether the entry means to be a template, well-formed or not. */
export function isTemplate(entry: string): boolean {
  return entry.includes('{{') || entry.includes('}}')
}

/** The template, or why it is none, as the end of a sentence that begins with the entry. */
export function compileTemplate(entry: string): Template | { readonly problem: string } {
  const match = /^([^{}]*)\{\{\s*(.*?)\s*\}\}([^{}]*)$/.exec(entry)
  const [, prefix, expression, suffix] = match ?? []
  if (prefix === undefined || expression === undefined || suffix === undefined)
    return { problem: 'it is not one {{expression}} with text around it' }
  const parsed = compileExpression(expression)
  return 'problem' in parsed ? parsed : { prefix, suffix, ...parsed }
}

/** The literals an entry stands for. No value: no entry. */
export function expandTemplate(template: Template, identity: UserIdentity): readonly string[] {
  const out: string[] = []
  for (const value of traitValues(identity, template.trait)) {
    const changed = changeValue(template, value)
    if (changed !== undefined && changed !== '')
      out.push(template.prefix + changed + template.suffix)
  }
  return out
}

/** Whether the text is one of these literals; the same as looking it up in `expandTemplate`, without making them. */
export function matchTemplate(template: Template, identity: UserIdentity, text: string): boolean {
  const { prefix, suffix } = template
  for (const value of traitValues(identity, template.trait)) {
    const changed = changeValue(template, value)
    if (changed === undefined || changed === '') continue
    const length = prefix.length + changed.length + suffix.length
    if (text.length !== length || !text.startsWith(prefix) || !text.endsWith(suffix)) continue
    if (text.startsWith(changed, prefix.length)) return true
  }
  return false
}

/**
 * Whether a `*` among the values means everything: only for a bare `{{internal.…}}` of a local user, whose traits an
 * administrator wrote. A claim of an identity provider may be called `db_users` too, and there `*` stays a star.
 */
export function isAdminWildcard(template: Template, identity: UserIdentity): boolean {
  const bare = template.prefix === '' && template.suffix === '' && template.change.kind === 'none'
  if (!bare || template.space !== 'internal' || identity.issuer !== 'local') return false
  return traitValues(identity, template.trait).includes('*')
}

type Expression = Omit<Template, 'prefix' | 'suffix'> | { readonly problem: string }

function compileExpression(expression: string): Expression {
  const email = EMAIL_LOCAL.exec(expression)?.[1]
  if (email !== undefined) return withChange(email.trim(), { kind: 'email-local' })
  const [, variable, pattern, by] = REPLACE.exec(expression) ?? []
  if (variable === undefined || pattern === undefined || by === undefined)
    return withChange(expression, { kind: 'none' })
  const regex = compileRegex(unquote(pattern))
  if ('problem' in regex) return { problem: `the expression ${pattern} is wrong: ${regex.problem}` }
  return withChange(variable, { kind: 'replace', regex, by: unquote(by) })
}

function withChange(variable: string, change: Template['change']): Expression {
  const [, space, dotted, bracketed] = VARIABLE.exec(variable) ?? []
  const trait = dotted ?? bracketed
  if (trait === undefined || (space !== 'internal' && space !== 'external'))
    return { problem: `"${variable}" is neither internal.NAME nor external.NAME` }
  const known: readonly string[] = INTERNAL_TRAITS
  if (space === 'internal' && !known.includes(trait))
    return { problem: `internal.${trait} does not exist; for traits of your own write external` }
  return { space, trait, change }
}

/** Quoted as in Go and JSON, except that an unknown escape keeps its backslash: "\d" is what people write. */
function unquote(quoted: string): string {
  return quoted
    .slice(1, -1)
    .replace(/\\(.)/g, (whole, char: string) => (char === '"' || char === '\\' ? char : whole))
}

function traitValues(identity: UserIdentity, trait: string): readonly string[] {
  return Object.hasOwn(identity.traits, trait) ? (identity.traits[trait] ?? []) : []
}

function changeValue(template: Template, value: string): string | undefined {
  switch (template.change.kind) {
    case 'none':
      return value
    case 'email-local':
      return emailLocal(value)
    case 'replace':
      return replaceRegex(template.change.regex, value, template.change.by)
  }
}

export function emailLocal(value: string): string | undefined {
  const at = value.lastIndexOf('@')
  const local = value.slice(0, Math.max(at, 0))
  return local === '' || at === value.length - 1 || local.includes('@') ? undefined : local
}
