// What a schema complains of, in words: the field by its path and what was expected there. Several complaints are told at once.

import type { z } from 'zod'

type Issue = z.core.$ZodIssue

const SHOWN_MAX = 5

export interface Problem {
  readonly message: string
  /** Of the first complaint. */
  readonly path: readonly PropertyKey[]
}

/** At most five complaints, one per line; later ones carry their own line number. */
export function describeIssues(
  issues: readonly Issue[],
  value: unknown,
  line: (path: readonly PropertyKey[]) => number | undefined,
): Problem {
  const all = issues.flatMap((issue) => describe(issue, value))
  const [first = { path: [], text: 'it is not valid' }, ...rest] = all
  const more = rest.slice(0, SHOWN_MAX - 1).map(({ path, text }) => {
    const at = line(path)
    return at === undefined ? text : `line ${String(at)}: ${text}`
  })
  const left = rest.length - more.length
  if (left > 0) more.push(`and ${String(left)} more`)
  return { path: first.path, message: [first.text, ...more].join('\n') }
}

/** `spec.allow.rules[0].verbs` */
export function pathText(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === 'number') return `${text}[${String(step)}]`
    return text === '' ? String(step) : `${text}.${String(step)}`
  }, '')
}

interface Described {
  readonly path: readonly PropertyKey[]
  readonly text: string
}

function describe(issue: Issue, value: unknown): readonly Described[] {
  const { path } = issue
  if (issue.code === 'unrecognized_keys')
    return issue.keys.map((key) => ({
      path: [...path, key],
      text: `${pathText([...path, key])}: unknown field`,
    }))
  const missing = at(value, path) === undefined
  return [{ path, text: `${pathText(path)}: ${missing ? 'missing' : issue.message}` }]
}

function at(value: unknown, path: readonly PropertyKey[]): unknown {
  let inner: unknown = value
  for (const step of path) {
    if (typeof inner !== 'object' || inner === null || !Object.hasOwn(inner, step)) return undefined
    inner = Reflect.get(inner, step)
  }
  return inner
}
