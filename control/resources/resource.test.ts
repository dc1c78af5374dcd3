// The other kinds: what they take, what they refuse by name, and what they come to.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { compileClusterConfig, defaultClusterResources } from './cluster-config.ts'
import { compileLock } from './lock.ts'
import type { Resource } from './resource.ts'
import {
  parseDocuments,
  parseResource,
  RESOURCE_KINDS,
  renderDocument,
  resourceKind,
  singletonOf,
} from './resource.ts'
import { columns, row, warnings } from './table.ts'

function one<K extends Resource['kind']>(
  kind: K,
  spec: string,
  name: string,
  version = 'v2',
): Extract<Resource, { kind: K }> {
  const [resource] = parseDocuments(
    `{kind: ${kind}, version: ${version}, metadata: {name: ${name}}, spec: ${spec}}`,
  )
  if (!isKind(resource, kind)) throw new Error('another kind')
  return resource
}

function isKind<K extends Resource['kind']>(
  resource: Resource | undefined,
  kind: K,
): resource is Extract<Resource, { kind: K }> {
  return resource?.kind === kind
}

const TOKEN = 'abcdefabcdefabcdef'
const SAMPLES: readonly Resource[] = [
  one(
    'user',
    '{roles: [access], traits: {db_users: [app]}, status: {is_locked: yes, locked_message: x, lock_expires: 2030-01-01T00:00:00Z}, expires: 2031-01-01T00:00:00Z, created_by: {user: {name: root}, time: 2026-01-01T00:00:00Z}, github_identities: [{connector_id: gh, username: a}]}',
    'alice',
  ),
  one('role', '{}', 'r', 'v7'),
  one(
    'token',
    '{roles: [Db, Proxy], join_method: token, one_use: true, targets: [orders, shop-*], suggested_labels: {env: [prod]}}',
    TOKEN,
  ),
  one(
    'db',
    '{protocol: postgres, uri: "db.test:5432", tls: {mode: verify-ca, server_name: x, trust_system_cert_pool: yes, ca_cert: PEM}}',
    'orders',
    'v3',
  ),
  one('node', '{addr: "10.0.0.7:22", hostname: old.example.com}', 'old'),
  one(
    'lock',
    '{target: {user: Alice, db: orders}, message: stop, expires: 2030-01-01T00:00:00Z}',
    'l1',
  ),
  one(
    'health_check_config',
    '{interval: 10s, timeout: 2s, healthy_threshold: 3, unhealthy_threshold: 2, match: {disabled: no, db_labels: [{name: env, values: [prod, test]}]}}',
    'prod',
    'v1',
  ),
  one(
    'cluster_auth_preference',
    '{type: local, second_factors: [otp], locking_mode: strict, disconnect_expired_cert: yes, default_session_ttl: 12h, message_of_the_day: hi, max_connections_mode: strict, require_session_mfa: no, device_trust: {mode: "off"}, allow_local_auth: true, allow_headless: false}',
    'cluster-auth-preference',
  ),
  one(
    'session_recording_config',
    '{mode: node, proxy_checks_host_keys: yes, encryption: {enabled: no}}',
    'session-recording-config',
  ),
  one(
    'cluster_networking_config',
    '{client_idle_timeout: 30m, client_idle_timeout_message: bye, keep_alive_interval: 5m, tunnel_strategy: {type: agent_mesh}}',
    'cluster-networking-config',
  ),
]

describe('every kind', () => {
  it('has a sample here', () => {
    assert.deepEqual(
      SAMPLES.map(({ kind }) => kind),
      RESOURCE_KINDS,
    )
  })

  it('is written and read back the same, alone, together and as JSON', () => {
    for (const sample of SAMPLES) {
      assert.deepEqual(parseDocuments(renderDocument(sample)), [sample])
      assert.deepEqual(parseResource(JSON.parse(JSON.stringify(sample))), sample)
    }
    assert.deepEqual(parseDocuments(renderDocument(...SAMPLES)), SAMPLES)
  })

  it('refuses unknown fields of envelope, metadata and spec', () => {
    for (const sample of SAMPLES) {
      assert.throws(() => parseResource({ ...sample, xtra: 1 }), /xtra: unknown field/)
      assert.throws(
        () => parseResource({ ...sample, metadata: { ...sample.metadata, xtra: 1 } }),
        /metadata\.xtra: unknown field/,
      )
      assert.throws(
        () => parseResource({ ...sample, spec: { ...sample.spec, xtra: 1 } }),
        /spec\.xtra: unknown field/,
      )
      assert.throws(() => parseResource({ ...sample, version: 'v99' }), /version: expected/)
    }
  })

  it('has as many cells in a row as columns', () => {
    for (const sample of SAMPLES) assert.equal(row(sample).length, columns(sample.kind).length)
  })

  it('is known by the words people use', () => {
    const words = {
      users: 'user',
      roles: 'role',
      cap: 'cluster_auth_preference',
      Locks: 'lock',
      'session-recording-config': 'session_recording_config',
      netconfig: 'cluster_networking_config',
      databases: 'db',
    }
    for (const [word, kind] of Object.entries(words)) assert.equal(resourceKind(word), kind)
    assert.equal(resourceKind('rolle'), undefined)
  })

  it('of which there is one has one name', () => {
    for (const kind of RESOURCE_KINDS) {
      const name = singletonOf(kind)
      const sample = SAMPLES.find((each) => each.kind === kind)
      if (name !== undefined)
        assert.throws(
          () => parseResource({ ...sample, metadata: { name: 'other' } }),
          new RegExp(name),
        )
    }
  })
})

function refused(
  kind: Resource['kind'],
  spec: string,
  says: RegExp,
  name: string,
  version = 'v2',
): void {
  assert.throws(() => one(kind, spec, name, version), says, spec)
}

describe('a demand that nothing enforces', () => {
  it('is refused by name where it would speak for everybody', () => {
    const cap = (spec: string): void => {
      refused('cluster_auth_preference', spec, /not built|is built/, 'cluster-auth-preference')
    }
    cap('{require_session_mfa: yes}')
    cap('{require_session_mfa: hardware_key_touch}')
    cap('{device_trust: {mode: required}}')
    cap('{type: saml}')
    cap('{second_factor: webauthn}')
    cap('{second_factors: [otp, webauthn]}')
    cap('{allow_passwordless: true}')
    cap('{webauthn: {rp_id: x}}')
    cap('{hardware_key: {}}')
    cap('{allow_local_auth: false}')
    refused(
      'cluster_auth_preference',
      '{second_factors: []}',
      /always needed/,
      'cluster-auth-preference',
    )
    refused(
      'session_recording_config',
      '{mode: somewhere}',
      /one of node, node-sync/,
      'session-recording-config',
    )
  })

  it('is refused in a lock, as it would lock nobody', () => {
    for (const field of [
      'device',
      'mfa_device',
      'windows_desktop',
      'access_request',
      'bot_instance_id',
      'join_token',
    ])
      refused('lock', `{target: {user: a, ${field}: x}}`, /nothing checks such a lock/, 'l')
    refused('lock', '{target: {}}', /at least one target/, 'l')
    refused('lock', '{target: {key_sha256: ab}}', /SHA-256/, 'l')
  })

  it('is refused in a database and in a token', () => {
    for (const field of ['aws', 'ad', 'admin_user', 'dynamic_labels'])
      refused('db', `{protocol: postgres, uri: "a:1", ${field}: {}}`, /not built/, 'a', 'v3')
    refused('db', '{protocol: mysql, uri: "a:1"}', /"mysql" is not built/, 'a', 'v3')
    refused('db', '{protocol: pg, uri: "a:1"}', /expected postgres/, 'a', 'v3')
    refused('db', '{protocol: postgres, uri: "postgres://a"}', /host:port/, 'a', 'v3')
    refused('token', '{roles: [Auth]}', /"Auth" is none of/, TOKEN)
    refused('token', '{roles: [Db], join_method: iam}', /"iam" is not built/, TOKEN)
    refused('token', '{roles: [Db], allow: [{aws_account: "1"}]}', /not built/, TOKEN)
    refused('token', '{roles: [Db]}', /16 characters/, 'short')
  })
})

describe('names', () => {
  it('of users and databases follow the rules of names', () => {
    refused('user', '{roles: []}', /ASCII/, '"аlice"')
    refused('user', '{roles: []}', /system/, '"@admin"')
    refused('db', '{protocol: postgres, uri: "a:1"}', /target name/, '"a b"', 'v3')
  })
})

describe('a token', () => {
  it('hides its secret in a table', () => {
    const sample = SAMPLES.find(({ kind }) => kind === 'token')
    assert.ok(sample)
    assert.doesNotMatch(row(sample).join(' '), new RegExp(TOKEN))
  })

  it('keeps its roles in one spelling and warns when it never ends', () => {
    const token = one('token', '{roles: [Db, WINDOWS_DESKTOP]}', TOKEN)
    assert.deepEqual(token.spec.roles, ['db', 'windowsdesktop'])
    assert.match(
      warnings(token).join('\n'),
      /never ends[\s\S]*no service exists yet for windowsdesktop/,
    )
  })
})

describe('a lock', () => {
  it('comes to what lock sets carry, with the earlier of its two ends', () => {
    const [lock] = parseDocuments(
      '{kind: lock, version: v2, metadata: {name: l, expires: 2029-01-01T00:00:00Z}, spec: {target: {user: Alice}, expires: 2030-01-01T00:00:00Z}}',
    )
    assert.ok(lock?.kind === 'lock')
    assert.deepEqual(compileLock(lock, 5), {
      name: 'l',
      target: { user: 'alice' },
      createdAtMs: 5,
      expiresAtMs: Date.UTC(2029, 0, 1),
    })
  })
})

describe('the cluster’s configuration', () => {
  it('has defaults that are good resources', () => {
    for (const resource of Object.values(defaultClusterResources()))
      assert.deepEqual(parseResource(resource), resource)
    assert.deepEqual(compileClusterConfig('c', defaultClusterResources()), {
      cluster: 'c',
      recording: 'node',
      lockingMode: 'best_effort',
      disconnectExpiredCert: false,
      maxConnectionsMode: 'best_effort',
    })
  })

  it('has every mode of recording', () => {
    for (const mode of ['node', 'node-sync', 'proxy', 'proxy-sync', 'off']) {
      const name = 'session-recording-config'
      const recording = one('session_recording_config', `{mode: ${mode}}`, name)
      const resources = { ...defaultClusterResources(), recording }
      assert.equal(compileClusterConfig('c', resources).recording, mode)
    }
  })

  it('is made of the three resources', () => {
    const [auth, recording, networking] = SAMPLES.slice(-3)
    assert.ok(auth?.kind === 'cluster_auth_preference')
    assert.ok(recording?.kind === 'session_recording_config')
    assert.ok(networking?.kind === 'cluster_networking_config')
    assert.deepEqual(compileClusterConfig('c', { auth, recording, networking }), {
      cluster: 'c',
      recording: 'node',
      lockingMode: 'strict',
      disconnectExpiredCert: true,
      clientIdleTimeoutMs: 1_800_000,
      clientIdleTimeoutMessage: 'bye',
      maxConnectionsMode: 'strict',
    })
  })
})
