// Pieces the schemas of resources share: what a name, a duration, a yes or no, a label map and a point in time look like, and
// the envelope around every spec. Everything is strict: an unknown field is refused where it stands.

import { z } from 'zod'

import { parseDuration } from './duration.ts'

export interface Metadata {
  readonly name: string
  readonly description?: string
  readonly labels?: Readonly<Record<string, string>>
  /** RFC 3339, in UTC. */
  readonly expires?: string
  readonly revision?: string
}

/** What every resource has. `K` is its kind. */
export interface Envelope<K extends string, Spec> {
  readonly kind: K
  readonly sub_kind?: string
  readonly version: string
  readonly metadata: Metadata
  readonly spec: Spec
}

/** Whether the schema's name rule is broken, as a sentence. */
export type NameRule = (name: string) => string | undefined

const TEXT_MAX = 4096

export const text: z.ZodType<string> = z.string().max(TEXT_MAX)
export const texts: z.ZodType<readonly string[]> = z.array(z.string().min(1).max(TEXT_MAX))
export const count: z.ZodType<number> = z.int().min(0)

const BOOLEAN_WORDS: Readonly<Record<string, boolean>> = {
  true: true,
  yes: true,
  on: true,
  false: false,
  no: false,
  off: false,
}

/** YAML 1.2 has no `yes`, but people's files do. */
export const yesNo: z.ZodType<boolean> = z
  .union([z.boolean(), z.enum(['true', 'yes', 'on', 'false', 'no', 'off'])], {
    error: 'expected true or false',
  })
  .transform((value) => (typeof value === 'boolean' ? value : BOOLEAN_WORDS[value] === true))

export const duration: z.ZodType<string> = z
  .union([z.string(), z.literal(0)], { error: 'expected a duration such as 8h30m' })
  .transform(String)
  .refine((value) => parseDuration(value) !== undefined, {
    error: 'expected a duration such as 8h30m',
  })

/** A point in time; kept as UTC. */
export const time: z.ZodType<string> = z.iso
  .datetime({ offset: true, error: 'expected a time such as 2027-01-31T12:00:00Z' })
  .transform((value) => new Date(value).toISOString())

/** A label of a resource or target; keys as the reference product allows them. */
export const labels: z.ZodType<Readonly<Record<string, string>>> = z.record(
  z
    .string()
    .regex(/^[A-Za-z0-9/._:-]{1,128}$/, 'a label key has letters, digits and / . _ : - only'),
  z.string().max(512),
)

/** A label map of a role: one value or several per key; several are kept. */
export const labelMatch: z.ZodType<Readonly<Record<string, readonly string[]>>> = z.record(
  z.string().min(1).max(128),
  z
    .union([z.string(), z.array(z.string())], { error: 'expected one text or a list of texts' })
    .transform((value) => (typeof value === 'string' ? [value] : value)),
)

/** A field the reference product has and Sluice has not: refused by name unless it says what is so anyway. */
export function unbuilt(why: string): z.ZodType<never> {
  return z.never({ error: `not built yet: ${why}` })
}

/** The whole resource. */
export function envelope<K extends string, Spec>(
  kind: K,
  versions: readonly string[],
  nameRule: NameRule,
  spec: z.ZodType<Spec>,
  subKinds: readonly string[] = [''],
): z.ZodType<Envelope<K, Spec>> {
  const name = z.string().superRefine((value, context) => {
    const problem = nameRule(value)
    if (problem !== undefined) context.addIssue({ code: 'custom', message: problem })
  })
  const metadata = z
    .strictObject({
      name,
      description: z.exactOptional(text),
      labels: z.exactOptional(labels),
      namespace: z.exactOptional(
        z.literal('default', { error: 'the only namespace is "default"' }),
      ),
      expires: z.exactOptional(time),
      revision: z.exactOptional(z.union([z.string().max(128), z.int()]).transform(String)),
      id: z.exactOptional(z.unknown()),
    })
    // Exports of old versions carry both; neither means anything any more.
    .transform(({ id: _id, namespace: _namespace, ...rest }): Metadata => rest)
  return z.strictObject({
    kind: z.literal(kind),
    sub_kind: z.exactOptional(
      z.enum(subKinds, {
        error: `expected one of ${subKinds.map((each) => `"${each}"`).join(', ')}`,
      }),
    ),
    version: z.enum(versions, { error: `expected one of ${versions.join(', ')}` }),
    metadata,
    spec,
  })
}

/** For kinds of which there is one. */
export function singletonName(only: string): NameRule {
  return (name) => (name === only ? undefined : `there is only one of these, named "${only}"`)
}
