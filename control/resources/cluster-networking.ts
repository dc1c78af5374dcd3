// The resource `cluster_networking_config`: idle time and other habits of connections. One of it.

import { z } from 'zod'

import type { Envelope } from './field.ts'
import { count, duration, envelope, singletonName, text, yesNo } from './field.ts'

export const CLUSTER_NETWORKING_NAME = 'cluster-networking-config'

export interface ClusterNetworkingSpec {
  readonly client_idle_timeout?: string
  readonly client_idle_timeout_message?: string
}

export type ClusterNetworkingResource = Envelope<'cluster_networking_config', ClusterNetworkingSpec>

/** Read and kept; each governs a service or a habit that does not exist here. */
const INERT = {
  web_idle_timeout: z.exactOptional(duration),
  keep_alive_interval: z.exactOptional(duration),
  keep_alive_count_max: z.exactOptional(count),
  session_control_timeout: z.exactOptional(duration),
  proxy_listener_mode: z.exactOptional(z.union([z.enum(['separate', 'multiplex']), z.int()])),
  routing_strategy: z.exactOptional(
    z.union([z.enum(['unambiguous_match', 'most_recent']), z.int()]),
  ),
  tunnel_strategy: z.exactOptional(
    z.strictObject({
      type: z.enum(['agent_mesh', 'proxy_peering']),
      agent_connection_count: z.exactOptional(count),
    }),
  ),
  proxy_ping_interval: z.exactOptional(duration),
  case_insensitive_routing: z.exactOptional(yesNo),
  ssh_dial_timeout: z.exactOptional(duration),
}

const spec: z.ZodType<ClusterNetworkingSpec> = z.strictObject({
  client_idle_timeout: z.exactOptional(duration),
  client_idle_timeout_message: z.exactOptional(text),
  ...INERT,
})

export const clusterNetworkingSchema: z.ZodType<ClusterNetworkingResource> = envelope(
  'cluster_networking_config',
  ['v2'],
  singletonName(CLUSTER_NETWORKING_NAME),
  spec,
)

export function clusterNetworkingColumns(): readonly string[] {
  return ['Client Idle Timeout', 'Message']
}

export function clusterNetworkingRow({
  spec: config,
}: ClusterNetworkingResource): readonly string[] {
  return [config.client_idle_timeout ?? 'never', config.client_idle_timeout_message ?? '']
}

export function clusterNetworkingWarnings({
  spec: config,
}: ClusterNetworkingResource): readonly string[] {
  return Object.keys(INERT)
    .filter((field) => Object.hasOwn(config, field))
    .map((field) => `spec.${field} has no effect yet`)
}
