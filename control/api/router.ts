// From a method and a path to a row of the table, from a row and a caller to a yes or no, from text to a checked request. Pure.
// Refuses to be built when a handler has no row or a row no handler: a route nobody declared cannot exist.

import { ProxyError } from '../../core/errors.ts'
import type { UserIdentity } from '../../core/identity.ts'
import { readBody } from './body.ts'
import type { CallName } from './calls.ts'
import type { Caller } from './caller.ts'
import type { Handlers } from './handler.ts'
import type { Permission, Verb } from './permission.ts'
import { CALL_NAMES, type Row, ROUTES } from './schema.ts'

export interface Rights {
  /** The kind an alias stands for; undefined when there is none. */
  kindOf(name: string): string | undefined
  mayResource(identity: UserIdentity, kind: string, verb: Verb): boolean
}

export interface Match {
  readonly name: CallName
  readonly row: Row<CallName>
  readonly params: Readonly<Record<string, string>>
}

/** Throws unless rows and handlers are the same names. Every server calls it before it listens. */
export function checkHandlers(handlers: Handlers): void {
  const known = new Set<string>(CALL_NAMES)
  const given = new Set(Object.keys(handlers))
  const lacking = [...known].filter((name) => !given.has(name))
  const surplus = [...given].filter((name) => !known.has(name))
  if (lacking.length + surplus.length === 0) return
  throw new TypeError(
    `API calls without a handler: ${lacking.join()}; without a row: ${surplus.join()}`,
  )
}

/** The row for a request. Throws `resource.not-found`. */
export function matchRoute(method: string, path: string): Match {
  for (const { name, row, pattern } of PATTERNS) {
    const groups = row.method === method ? pattern.exec(path)?.groups : undefined
    if (groups !== undefined) return { name, row, params: decoded(groups) }
  }
  throw new ProxyError('resource.not-found', `The API has no ${method} ${path.slice(0, 200)}.`, {
    side: 'client',
  })
}

/** Throws unless the caller may use the row. `params` are the path's. */
export function authorizeCall(match: Match, caller: Caller, rights: Rights): void {
  const { row, params } = match
  const problem = wrongCaller(row, caller) ?? wrongFactor(row, caller)
  if (problem !== undefined) throw new ProxyError('policy.denied', problem, { side: 'client' })
  if (typeof row.permission === 'string') return
  const kind = resourceKind(row.permission, params, rights)
  const { verb } = row.permission
  if (caller.kind === 'user' && !rights.mayResource(caller.identity, kind, verb))
    throw new ProxyError('policy.denied', `Your roles do not allow you to ${verb} ${kind}.`, {
      side: 'client',
      next: `Ask an administrator for a role with the rule {resources: [${kind}], verbs: [${verb}]}.`,
    })
}

/** The request value: path parameters, and the query or the body. Throws `resource.invalid`. */
export function readRequest(match: Match, query: URLSearchParams, body: string): unknown {
  const fields =
    match.row.method === 'POST' || match.row.method === 'PUT'
      ? bodyFields(match.row, body)
      : queryFields(query, body)
  for (const key of Object.keys(match.params))
    if (Object.hasOwn(fields, key)) throw invalid(`${key} belongs into the path`)
  const result = match.row.request.safeParse({ ...fields, ...match.params })
  if (result.success) return result.data
  const [issue] = result.error.issues
  const where =
    issue === undefined || issue.path.length === 0 ? '' : `${issue.path.map(String).join('.')}: `
  throw invalid(`${where}${issue?.message ?? 'it does not match the schema'}`)
}

interface Pattern {
  readonly name: CallName
  readonly row: Row<CallName>
  readonly pattern: RegExp
}

// `/v1/certificates/db` is no `:name`: rows with fewer parameters come first.
const PATTERNS: readonly Pattern[] = CALL_NAMES.map((name) => {
  const row: Row<CallName> = ROUTES[name]
  const source = row.path.replaceAll('.', '\\.').replace(/:(\w+)/g, '(?<$1>[^/]+)')
  // A row without parameters has no groups; the empty one keeps the two cases alike.
  return { name, row, pattern: new RegExp(`^${source}(?<_>)$`) }
}).sort((a, b) => parameters(a.row) - parameters(b.row))

function parameters(row: Row<CallName>): number {
  return row.path.split(':').length
}

function decoded(groups: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const found: Record<string, string> = {}
  for (const [key, value] of Object.entries(groups))
    if (key !== '_') found[key] = decodeSegment(value)
  return found
}

function decodeSegment(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw invalid('the path is not properly encoded')
  }
}

function wrongCaller(row: Row<CallName>, caller: Caller): string | undefined {
  switch (row.who) {
    case 'anyone':
      return undefined
    case 'user':
      return personProblem(caller)
    case 'admin':
      if (caller.kind === 'local') return undefined
      return row.permission === 'super'
        ? 'This call is for control’s own unix socket.'
        : personProblem(caller)
    case 'agent':
    case 'proxy':
    case 'system': {
      if (caller.kind !== 'system') return 'This call is for agents and proxies.'
      const { role } = caller.identity
      if (role === 'control') return 'Control does not call itself.'
      return row.who === 'system' || row.who === role
        ? undefined
        : `This call is for the role ${row.who}.`
    }
  }
}

function personProblem(caller: Caller): string | undefined {
  if (caller.kind !== 'user') return 'Log in first: this call needs a user’s certificate.'
  return caller.identity.route === undefined
    ? undefined
    : 'This certificate is for one target; use the one from tsh login.'
}

function wrongFactor(row: Row<CallName>, caller: Caller): string | undefined {
  if (row.mfa === 'none' || caller.kind !== 'user' || caller.identity.kind === 'bot')
    return undefined
  return caller.identity.mfaAtMs === undefined
    ? 'This call needs a login with a second factor.'
    : undefined
}

function resourceKind(
  permission: Exclude<Permission, string>,
  params: Readonly<Record<string, string>>,
  rights: Rights,
): string {
  if (permission.kind !== ':kind') return permission.kind
  const kind = rights.kindOf(params['kind'] ?? '')
  if (kind !== undefined) return kind
  throw new ProxyError(
    'resource.not-found',
    `There is no resource kind "${params['kind'] ?? ''}".`,
    { side: 'client' },
  )
}

function bodyFields(row: Row<CallName>, body: string): Readonly<Record<string, unknown>> {
  if (row.lines === true) return { lines: body === '' ? [] : body.split('\n') }
  const reading = readBody(body === '' ? '{}' : body)
  if (!reading.ok) throw invalid(reading.reason)
  const { value } = reading
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid('the body is no object')
  return { ...value }
}

function queryFields(query: URLSearchParams, body: string): Readonly<Record<string, unknown>> {
  if (body !== '') throw invalid('this method takes no body')
  const fields = new Map<string, string>()
  for (const [key, value] of query) {
    if (fields.has(key)) throw invalid(`${key} stands twice`)
    fields.set(key, value)
  }
  return Object.fromEntries(fields)
}

function invalid(reason: string): ProxyError {
  return new ProxyError('resource.invalid', `The request is refused: ${reason}.`, {
    side: 'client',
  })
}
