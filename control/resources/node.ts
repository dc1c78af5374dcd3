// The resource `node`: a server that people reach by SSH. An administrator writes those that have no agent (`sub_kind: openssh`);
// those with one announce themselves, and are shown in the same form.

import { z } from 'zod'

import { isDnsName } from '../../core/cert/name.ts'
import { targetNameProblem } from '../../core/policy/names.ts'
import type { Envelope } from './field.ts'
import { envelope, text } from './field.ts'

export interface NodeSpec {
  /** `host:port`; empty for a node with an agent, which nobody dials. */
  readonly addr?: string
  /** What people call it; the resource's own name when absent. */
  readonly hostname?: string
}

export type NodeResource = Envelope<'node', NodeSpec>

/** Without an agent: the only kind that is written by hand. */
export const OPENSSH = 'openssh'

const addr = z.union([
  z.literal(''),
  z
    .string()
    .max(300)
    .regex(
      /^(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?$/,
      'expected host:port, without a scheme',
    ),
])

const spec: z.ZodType<NodeSpec> = z.strictObject({
  addr: z.exactOptional(addr),
  hostname: z.exactOptional(
    text.refine((name) => isDnsName(name), 'expected a DNS name in lower case'),
  ),
})

export const nodeSchema: z.ZodType<NodeResource> = envelope(
  'node',
  ['v2'],
  targetNameProblem,
  spec,
  ['', OPENSSH],
)

/** What people call it: the name of its target. */
export function nodeHostname({ metadata, spec: { hostname } }: NodeResource): string {
  return hostname ?? metadata.name
}

const SSH_PORT = 22

/** `host:port` of one without an agent. */
export function nodeAddress({ spec: { addr: written = '' } }: NodeResource): string {
  return /(?:^[^:[\]]+|\])$/.test(written) ? `${written}:${SSH_PORT}` : written
}

/** Why an administrator may not write it so. */
export function nodeProblem(resource: NodeResource, cluster: string): string | undefined {
  if (resource.sub_kind !== OPENSSH)
    return 'a node with an agent announces itself; one without has sub_kind: openssh'
  if (nodeAddress(resource) === '') return 'spec.addr: missing; proxies dial it'
  const name = nodeHostname(resource)
  // Such names lead to nodes already: web-1 is web-1.<cluster> too.
  if (!isDnsName(name)) return 'spec.hostname: expected a DNS name in lower case'
  return name === cluster || name.endsWith(`.${cluster}`)
    ? 'spec.hostname: names below the cluster are those of nodes already; leave the cluster out'
    : undefined
}

export function nodeColumns(): readonly string[] {
  return ['Name', 'Hostname', 'Kind', 'Address', 'Labels']
}

export function nodeRow(resource: NodeResource): readonly string[] {
  const { metadata, sub_kind: kind = '' } = resource
  const labels = Object.entries(metadata.labels ?? {}).map(([key, value]) => `${key}=${value}`)
  const address = nodeAddress(resource)
  return [
    metadata.name,
    nodeHostname(resource),
    kind === '' ? 'agent' : kind,
    address === '' ? '(through its agent)' : address,
    labels.join(','),
  ]
}

export function nodeWarnings({ metadata, sub_kind: kind }: NodeResource): readonly string[] {
  const out: string[] = []
  if (kind === OPENSSH)
    out.push(
      'its sshd must trust `tctl auth export --type=openssh` (TrustedUserCAKeys), and show a host certificate of this cluster',
    )
  if (metadata.labels === undefined) out.push('without labels only roles for all nodes match')
  return out
}
