// Resources as rows of a text table, and what to tell whoever creates one. One switch over the kinds for each.

import { clusterAuthColumns, clusterAuthRow } from './cluster-auth.ts'
import {
  clusterNetworkingColumns,
  clusterNetworkingRow,
  clusterNetworkingWarnings,
} from './cluster-networking.ts'
import { dbColumns, dbRow, dbWarnings } from './db.ts'
import { healthCheckColumns, healthCheckRow, healthCheckWarnings } from './health-check.ts'
import { lockColumns, lockRow } from './lock.ts'
import { nodeColumns, nodeRow, nodeWarnings } from './node.ts'
import type { Resource, ResourceKind } from './resource.ts'
import { roleColumns, roleRow, roleWarnings } from './role.ts'
import { sessionRecordingColumns, sessionRecordingRow } from './session-recording.ts'
import { tokenColumns, tokenRow, tokenWarnings } from './token.ts'
import { userColumns, userRow, userWarnings } from './user.ts'

/** The titles of a kind's columns. */
export function columns(kind: ResourceKind): readonly string[] {
  switch (kind) {
    case 'user':
      return userColumns()
    case 'role':
      return roleColumns()
    case 'token':
      return tokenColumns()
    case 'db':
      return dbColumns()
    case 'node':
      return nodeColumns()
    case 'lock':
      return lockColumns()
    case 'health_check_config':
      return healthCheckColumns()
    case 'cluster_auth_preference':
      return clusterAuthColumns()
    case 'session_recording_config':
      return sessionRecordingColumns()
    case 'cluster_networking_config':
      return clusterNetworkingColumns()
  }
}

/** One row, as many cells as there are columns. */
export function row(resource: Resource): readonly string[] {
  switch (resource.kind) {
    case 'user':
      return userRow(resource)
    case 'role':
      return roleRow(resource)
    case 'token':
      return tokenRow(resource)
    case 'db':
      return dbRow(resource)
    case 'node':
      return nodeRow(resource)
    case 'lock':
      return lockRow(resource)
    case 'health_check_config':
      return healthCheckRow(resource)
    case 'cluster_auth_preference':
      return clusterAuthRow(resource)
    case 'session_recording_config':
      return sessionRecordingRow(resource)
    case 'cluster_networking_config':
      return clusterNetworkingRow(resource)
  }
}

/** What is accepted but does not do what one may expect. */
export function warnings(resource: Resource): readonly string[] {
  switch (resource.kind) {
    case 'user':
      return userWarnings(resource)
    case 'role':
      return roleWarnings(resource)
    case 'token':
      return tokenWarnings(resource)
    case 'db':
      return dbWarnings(resource)
    case 'node':
      return nodeWarnings(resource)
    case 'health_check_config':
      return healthCheckWarnings(resource)
    case 'lock':
    case 'cluster_auth_preference':
    case 'session_recording_config':
      return []
    case 'cluster_networking_config':
      return clusterNetworkingWarnings(resource)
  }
}
