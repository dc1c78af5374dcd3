// The resource `health_check_config`: how agents find out whether the databases with these labels answer. Of several that match, the
// first by name applies; `default` is there unwritten, matches everything, and is replaced by writing it.

import { z } from 'zod'

import { DEFAULT_HEALTH_CHECK, type HealthCheck } from '../../core/health.ts'
import { max } from '../../core/limits.ts'
import { compileSelectors, selects } from '../../core/policy/select.ts'
import { parseDuration } from './duration.ts'
import type { Envelope } from './field.ts'
import { duration, envelope, text, texts, unbuilt, yesNo } from './field.ts'

export interface HealthCheckSpec {
  readonly interval?: string
  readonly timeout?: string
  readonly healthy_threshold?: number
  readonly unhealthy_threshold?: number
  readonly match: {
    readonly disabled?: boolean
    readonly db_labels?: readonly { readonly name: string; readonly values: readonly string[] }[]
  }
}

export type HealthCheckResource = Envelope<'health_check_config', HealthCheckSpec>

const DEFAULT_NAME = 'default'

const threshold = z.int().min(1).max(10)

const spec: z.ZodType<HealthCheckSpec> = z
  .strictObject({
    interval: z.exactOptional(bounded('healthIntervalMinMs', 'healthIntervalMaxMs')),
    timeout: z.exactOptional(bounded('healthIntervalMinMs', 'healthIntervalMaxMs')),
    healthy_threshold: z.exactOptional(threshold),
    unhealthy_threshold: z.exactOptional(threshold),
    match: z.strictObject({
      disabled: z.exactOptional(yesNo),
      db_labels: z.exactOptional(z.array(z.strictObject({ name: text, values: texts }))),
      db_labels_expression: z.exactOptional(unbuilt('label expressions')),
      kubernetes_labels: z.exactOptional(unbuilt('Kubernetes')),
      kubernetes_labels_expression: z.exactOptional(unbuilt('Kubernetes')),
    }),
  })
  .refine((value) => checkOf(value).timeoutMs <= checkOf(value).intervalMs, {
    error: 'timeout may not be longer than interval',
  })

export const healthCheckSchema: z.ZodType<HealthCheckResource> = envelope(
  'health_check_config',
  ['v1'],
  (name) =>
    /^[a-z0-9][a-z0-9-]{0,63}$/.test(name) ? undefined : 'expected a name such as my-check',
  spec,
)

/** The check of a database with these labels; undefined: none, because an administrator said so. */
export function healthCheckFor(
  labels: Readonly<Record<string, string>>,
  resources: readonly HealthCheckResource[],
): HealthCheck | undefined {
  const found = [...resources]
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
    .find((each) => matches(each, labels))
  if (found !== undefined) return checkOf(found.spec)
  const written = resources.some(({ metadata }) => metadata.name === DEFAULT_NAME)
  return written ? undefined : DEFAULT_HEALTH_CHECK
}

export function healthCheckColumns(): readonly string[] {
  return ['Name', 'Interval', 'Timeout', 'Healthy', 'Unhealthy', 'DB Labels']
}

export function healthCheckRow({ metadata, spec: value }: HealthCheckResource): readonly string[] {
  const { match } = value
  const labels = (match.db_labels ?? []).map(({ name, values }) => `${name}=${values.join('|')}`)
  const check = checkOf(value)
  return [
    metadata.name,
    value.interval ?? `${check.intervalMs / 1000}s`,
    value.timeout ?? `${check.timeoutMs / 1000}s`,
    String(check.healthyThreshold),
    String(check.unhealthyThreshold),
    match.disabled === true ? '(disabled)' : labels.join(','),
  ]
}

export function healthCheckWarnings({ spec: { match } }: HealthCheckResource): readonly string[] {
  const matching = match.disabled !== true && (match.db_labels ?? []).length > 0
  return matching
    ? []
    : ['it matches no database: spec.match.db_labels is empty, or disabled is set']
}

function matches(
  { spec: { match } }: HealthCheckResource,
  labels: Readonly<Record<string, string>>,
): boolean {
  if (match.disabled === true) return false
  const selector = Object.fromEntries(
    (match.db_labels ?? []).map((each) => [each.name, each.values]),
  )
  return selects(compileSelectors([selector]), labels)
}

function checkOf(value: HealthCheckSpec): HealthCheck {
  const { intervalMs, timeoutMs, healthyThreshold, unhealthyThreshold } = DEFAULT_HEALTH_CHECK
  return {
    intervalMs:
      (value.interval === undefined ? undefined : parseDuration(value.interval)) ?? intervalMs,
    timeoutMs:
      (value.timeout === undefined ? undefined : parseDuration(value.timeout)) ?? timeoutMs,
    healthyThreshold: value.healthy_threshold ?? healthyThreshold,
    unhealthyThreshold: value.unhealthy_threshold ?? unhealthyThreshold,
  }
}

function bounded(least: 'healthIntervalMinMs', most: 'healthIntervalMaxMs'): z.ZodType<string> {
  return duration.refine(
    (value) => {
      const ms = parseDuration(value) ?? 0
      return ms >= max(least) && ms <= max(most)
    },
    { error: `expected ${max(least) / 1000}s to ${max(most) / 1000}s` },
  )
}
