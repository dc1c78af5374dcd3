// Databases that administrators register as `db` resources, as an agent gets them: those its own file selects by labels and its
// join token lists by name. Control alone says which agent serves which; an agent is told an address only for what it may serve.

import { max } from '../core/limits.ts'
import { compileSelectors, listsName, selects } from '../core/policy/select.ts'
import type { DynamicTarget, Selector } from './api/messages.ts'
import type { Cache } from './cache.ts'
import type { HostRecord } from './records.ts'
import type { DbResource } from './resources/db.ts'
import { LOCAL_OWNER } from './tokens.ts'

export interface Selection {
  readonly chosen: readonly DbResource[]
  /** Selected by labels, but not to be served by this agent. */
  readonly turnedAway: readonly { readonly name: string; readonly reason: string }[]
}

/** What an agent's selectors find. `announced`: names its file has itself, which stay as its file says. */
export function selectResources(
  cache: Cache,
  host: HostRecord,
  selectors: readonly Selector[],
  announced: ReadonlySet<string>,
  localSelects: boolean,
): Selection {
  if (selectors.length === 0) return { chosen: [], turnedAway: [] }
  const compiled = compileSelectors(selectors)
  const found = databaseResources(cache).filter(
    ({ metadata }) => !announced.has(metadata.name) && selects(compiled, metadata.labels ?? {}),
  )
  const listed = found.filter(({ metadata }) => mayServeResource(host, metadata.name, localSelects))
  const room = Math.max(0, max('targetNamesMax') - announced.size)
  const without = (resources: readonly DbResource[], reason: string): Selection['turnedAway'] =>
    resources.map(({ metadata }) => ({ name: metadata.name, reason }))
  return {
    chosen: listed.slice(0, room),
    turnedAway: [
      ...without(
        found.filter((each) => !listed.includes(each)),
        'an agent selects it, but its token does not list the name in targets',
      ),
      ...without(
        listed.slice(room),
        `an agent selects it, but serves ${max('targetNamesMax')} names already (targetNamesMax)`,
      ),
    ],
  }
}

/**
 * An administrator's resource is for agents whose token lists the name. Processes of control's own machine have no token of
 * their own to list names: the file they share with control selects for them.
 */
export function mayServeResource(
  { owner, targets }: HostRecord,
  name: string,
  localSelects: boolean,
): boolean {
  if (owner === LOCAL_OWNER && targets === undefined) return localSelects
  return targets !== undefined && listsName(targets, name)
}

/** In the order of their names. */
export function databaseResources(cache: Cache): readonly DbResource[] {
  return [...cache.kind('db').values()]
    .flatMap(({ resource }) => (resource.kind === 'db' ? [resource] : []))
    .sort((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
}

/** How an agent reaches it. */
export function dynamicTarget({ metadata, spec }: DbResource): DynamicTarget {
  const { host, port } = splitUri(spec.uri)
  const { mode = 'verify-full', server_name, trust_system_cert_pool = false } = spec.tls ?? {}
  const ca = spec.tls?.ca_cert ?? spec.ca_cert
  return {
    name: metadata.name,
    protocol: spec.protocol,
    labels: metadata.labels ?? {},
    description: metadata.description ?? '',
    host,
    port,
    tls: {
      mode,
      serverName: server_name ?? host,
      trustSystemRoots: trust_system_cert_pool,
      ...(ca === undefined ? {} : { ca }),
    },
  }
}

const POSTGRES_PORT = 5432

function splitUri(uri: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, port] = /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+))?$/.exec(uri) ?? []
  return { host: bracketed ?? plain ?? '', port: port === undefined ? POSTGRES_PORT : Number(port) }
}
