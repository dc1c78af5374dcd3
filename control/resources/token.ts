// The resource `token`: what an agent or proxy joins with. Its name is the secret. Two fields are ours: `one_use`, and
// `targets`, the names that whoever joins with it may serve.

import { z } from 'zod'

import { max } from '../../core/limits.ts'
import { targetNameProblem } from '../../core/policy/names.ts'
import type { Envelope } from './field.ts'
import { envelope, labels, texts, unbuilt, yesNo } from './field.ts'

/** What a joining process may run. Spelt freely (`Db`, `db`); kept in lower case. */
export const TOKEN_ROLES = ['proxy', 'node', 'db', 'app', 'kube', 'windowsdesktop'] as const
export type TokenRole = (typeof TOKEN_ROLES)[number]

export interface TokenSpec {
  readonly roles: readonly TokenRole[]
  readonly join_method?: 'token'
  readonly one_use?: boolean
  readonly targets?: readonly string[]
  readonly suggested_labels?: Readonly<Record<string, readonly string[]>>
}

export type TokenResource = Envelope<'token', TokenSpec>

const METHODS_NOT_BUILT = `
  bound_keypair ec2 iam azure azure_devops gcp github gitlab oracle bitbucket circleci spacelift terraform_cloud env0
  kubernetes tpm
`
  .trim()
  .split(/\s+/)

const role = z.string().transform((value, context): TokenRole => {
  const found = TOKEN_ROLES.find((known) => known === value.toLowerCase().replaceAll('_', ''))
  if (found !== undefined) return found
  const message = `"${value}" is none of ${TOKEN_ROLES.join(', ')} (other system roles are not built yet)`
  context.addIssue({ code: 'custom', message })
  return z.NEVER
})

const method = z.literal('token', {
  error: ({ input }) =>
    typeof input === 'string' && METHODS_NOT_BUILT.includes(input)
      ? `the method "${input}" is not built yet; use token`
      : 'expected token',
})

/** A name, or one with stars for any text: `shop-*`. */
const target = z.string().superRefine((value, context) => {
  const problem = targetNameProblem(value.replaceAll('*', 'x'))
  if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
})

/** Rules of other methods: a token that ignored them would let in more than it says. */
const otherMethods = Object.fromEntries(
  ['allow', 'bot_name', ...METHODS_NOT_BUILT].map((name) => [
    name,
    z.exactOptional(unbuilt('only the method token is')),
  ]),
)

const spec: z.ZodType<TokenSpec> = z.strictObject({
  ...otherMethods,
  roles: z.array(role).min(1, 'a token is for at least one system role'),
  join_method: z.exactOptional(method),
  one_use: z.exactOptional(yesNo),
  targets: z.exactOptional(z.array(target)),
  suggested_labels: z.exactOptional(z.record(z.string(), texts)),
  suggested_agent_matcher_labels: z.exactOptional(labels),
})

export const tokenSchema: z.ZodType<TokenResource> = envelope('token', ['v2'], nameProblem, spec)

/** The secret is 16 random bytes in hexadecimal when Sluice draws it; a shorter one of somebody's own can be guessed. */
function nameProblem(name: string): string | undefined {
  if (name.length < 16) return 'a token has at least 16 characters: its name is the secret'
  if (name.length > max('nameLengthMax')) return 'a token has at most 128 characters'
  return /^[A-Za-z0-9_-]+$/.test(name) ? undefined : 'a token has letters, digits, - and _ only'
}

export function tokenColumns(): readonly string[] {
  return ['Token', 'Type', 'Labels', 'Expiry Time (UTC)']
}

/** The secret is hidden: whoever needs it asks for the document. */
export function tokenRow({ metadata, spec: token }: TokenResource): readonly string[] {
  return [
    `${metadata.name.slice(0, 4)}********`,
    token.roles.join(','),
    Object.entries(metadata.labels ?? {})
      .map(([key, value]) => `${key}=${value}`)
      .join(','),
    metadata.expires ?? 'never',
  ]
}

export function tokenWarnings({ metadata, spec: token }: TokenResource): readonly string[] {
  const out: string[] = []
  if (metadata.expires === undefined) out.push('metadata.expires is not set: this token never ends')
  const unserved = token.roles.filter((name) => !['proxy', 'db'].includes(name))
  if (unserved.length > 0) out.push(`no service exists yet for ${unserved.join(', ')}`)
  return out
}
