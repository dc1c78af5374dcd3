// The cluster's configuration as snapshots carry it, out of the three singletons; and what these are before anybody wrote them.

import type { ClusterConfig } from '../../core/snapshot.ts'
import type { ClusterAuthResource } from './cluster-auth.ts'
import { CLUSTER_AUTH_NAME } from './cluster-auth.ts'
import type { ClusterNetworkingResource } from './cluster-networking.ts'
import { CLUSTER_NETWORKING_NAME } from './cluster-networking.ts'
import { parseDuration } from './duration.ts'
import type { SessionRecordingResource } from './session-recording.ts'
import { SESSION_RECORDING_NAME } from './session-recording.ts'

export interface ClusterResources {
  readonly auth: ClusterAuthResource
  readonly recording: SessionRecordingResource
  readonly networking: ClusterNetworkingResource
}

export function defaultClusterResources(): ClusterResources {
  return {
    auth: {
      kind: 'cluster_auth_preference',
      version: 'v2',
      metadata: { name: CLUSTER_AUTH_NAME },
      spec: { type: 'local', second_factors: ['otp'], locking_mode: 'best_effort' },
    },
    recording: {
      kind: 'session_recording_config',
      version: 'v2',
      metadata: { name: SESSION_RECORDING_NAME },
      spec: { mode: 'node' },
    },
    networking: {
      kind: 'cluster_networking_config',
      version: 'v2',
      metadata: { name: CLUSTER_NETWORKING_NAME },
      spec: {},
    },
  }
}

export function compileClusterConfig(cluster: string, resources: ClusterResources): ClusterConfig {
  const { auth, recording, networking } = resources
  const idleMs = parseDuration(networking.spec.client_idle_timeout ?? '') ?? 0
  const message = networking.spec.client_idle_timeout_message
  return {
    cluster,
    recording: recording.spec.mode ?? 'node',
    lockingMode: auth.spec.locking_mode ?? 'best_effort',
    disconnectExpiredCert: auth.spec.disconnect_expired_cert ?? false,
    ...(idleMs === 0 ? {} : { clientIdleTimeoutMs: idleMs }),
    ...(message === undefined ? {} : { clientIdleTimeoutMessage: message }),
    maxConnectionsMode: auth.spec.max_connections_mode ?? 'best_effort',
  }
}
