// The first start of a cluster, and what each start takes from the configuration file: control's id, preset roles, the three
// resources that configure the cluster. What administrators changed by hand is theirs: the file no longer overwrites it.

import { hash, randomUUID } from 'node:crypto'

import * as z from 'zod'

import type { Clock } from '../core/clock.ts'
import { ProxyError } from '../core/errors.ts'
import { type Base, readStored } from './base.ts'
import type { ConfigFile } from './config.ts'
import { AUTHORITIES, CLUSTER, resourceKey } from './records.ts'
import { defaultClusterResources } from './resources/cluster-config.ts'
import { presetRoles } from './resources/presets.ts'
import { parseResource, type Resource } from './resources/resource.ts'
import type { Store } from './store/contract.ts'

interface ClusterRecord {
  readonly name: string
  readonly controlId: string
  readonly createdAtMs: number
}

const clusterSchema: z.ZodType<ClusterRecord> = z.strictObject({
  name: z.string(),
  controlId: z.string(),
  createdAtMs: z.int(),
})

/** Reads who this cluster is, or founds it. A folder of another cluster is refused: names are in every certificate. */
export async function openCluster(
  store: Store,
  name: string,
  clock: Clock,
): Promise<{ readonly id: string; readonly isNew: boolean }> {
  const stored = await readStored(store, CLUSTER, clusterSchema)
  if (stored === undefined) {
    const record: ClusterRecord = { name, controlId: randomUUID(), createdAtMs: clock.now() }
    await store.create(CLUSTER, JSON.stringify(record))
    return { id: record.controlId, isNew: true }
  }
  if (stored.value.name !== name)
    throw new ProxyError(
      'config.invalid',
      `This data folder belongs to the cluster "${stored.value.name}", not "${name}".`,
      {
        next: 'The name of a cluster cannot be changed; set auth_service.cluster_name as it was, or use another data_dir.',
      },
    )
  return { id: stored.value.controlId, isNew: false }
}

/** The roles every cluster begins with; people may edit or delete them afterwards. */
export async function firstStart(base: Base): Promise<void> {
  for (const role of presetRoles()) {
    const key = resourceKey('role', role.metadata.name)
    if ((await base.store.get(key)) === undefined)
      await base.store.create(key, JSON.stringify(role))
  }
}

export const ORIGIN = 'sluice.dev/origin'
const FROM_FILE = 'config-file'

/** Brings the three configuring resources to what the file says, unless people wrote them since. */
export async function writeFileConfig(base: Base, config: ConfigFile): Promise<void> {
  for (const resource of fileResources(config)) {
    const { kind, metadata } = resource
    const key = resourceKey(kind, metadata.name)
    const item = await base.store.get(key)
    const known = item === undefined ? undefined : parseResource(JSON.parse(item.value))
    if (known !== undefined && known.metadata.labels?.[ORIGIN] !== FROM_FILE) continue
    const value = JSON.stringify(resource)
    if (item?.value !== value) await base.store.put(key, value, { revision: item?.revision ?? 0 })
  }
}

/** CAs live at the signer. A change of theirs becomes a change of the store, so that snapshots get a new revision. */
export async function noteAuthorities(base: Base): Promise<number> {
  const { cas, ssh, snapshot, audit } = await base.signer.authorities()
  const { user, host, target, db, db_client } = cas
  const ofSsh = [...ssh.user, ...ssh.host, ...ssh.openssh]
  const all = [...user, ...host, ...target, ...db, ...db_client, ...ofSsh, ...snapshot, ...audit]
  const value = JSON.stringify(hash('sha256', Buffer.concat(all), 'hex'))
  const item = await base.store.get(AUTHORITIES)
  return item?.value === value ? item.revision : await base.store.put(AUTHORITIES, value)
}

function fileResources({ auth_service: auth }: ConfigFile): readonly Resource[] {
  const { auth: preference, recording, networking } = defaultClusterResources()
  const { authentication } = auth
  const labels = { [ORIGIN]: FROM_FILE }
  return [
    {
      ...preference,
      metadata: { ...preference.metadata, labels },
      spec: {
        ...preference.spec,
        ...given('locking_mode', authentication?.locking_mode),
        ...given('default_session_ttl', authentication?.default_session_ttl),
        ...given('disconnect_expired_cert', auth.disconnect_expired_cert),
      },
    },
    {
      ...recording,
      metadata: { ...recording.metadata, labels },
      spec: { ...recording.spec, ...given('mode', auth.session_recording) },
    },
    {
      ...networking,
      metadata: { ...networking.metadata, labels },
      spec: {
        ...networking.spec,
        ...given('client_idle_timeout', auth.client_idle_timeout),
        ...given('client_idle_timeout_message', auth.client_idle_timeout_message),
      },
    },
  ].map((resource) => parseResource(resource))
}

/** A field that is set, or nothing: exact optional properties take no undefined. */
function given<K extends string, V>(key: K, value: V | undefined): { [P in K]?: V } {
  return value === undefined ? {} : ({ [key]: value } as { [P in K]?: V })
}
