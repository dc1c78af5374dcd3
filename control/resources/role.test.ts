// Roles from YAML to decisions: every field of the schema, versions, what nothing enforces, and how that ends.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import fc from 'fast-check'

import { TARGET_KINDS } from '../../core/identity.ts'
import { compileRoles } from '../../core/policy/compile.ts'
import type { Decision } from '../../core/policy/decide.ts'
import { decide } from '../../core/policy/decide.ts'
import type { Role, Unenforced } from '../../core/policy/role.ts'
import { presetRoles } from './presets.ts'
import { parseDocuments, parseResource, renderDocument } from './resource.ts'
import type { RoleResource } from './role.ts'
import { compileRole, roleWarnings } from './role.ts'

/** Uses each field of both sides and each option, in values that leave databases usable. */
const WHOLE = `
kind: role
version: v9
metadata:
  name: whole
  description: Every field there is
  labels: {owner: platform, 'example.test/tier': one}
  expires: 2030-01-01T00:00:00+01:00
  revision: 7f
  namespace: default
  id: 17
spec:
  options:
    max_session_ttl: 8h30m
    client_idle_timeout: 15m
    disconnect_expired_cert: yes
    max_connections: 3
    db_replication: yes
    max_sessions: 10
    max_kubernetes_connections: 2
    lock: strict
    pin_source_ip: no
    require_session_mfa: no
    mfa_verification_interval: 5m
    device_trust_mode: "off"
    request_access: optional
    request_prompt: Ticket number?
    cert_extensions: [{type: ssh, mode: extension, name: login@git.test, value: '{{external.login}}'}]
    cert_format: standard
    idp: {saml: {enabled: true}}
    record_session: {default: best_effort, ssh: strict, desktop: true}
    enhanced_recording: [command, disk, network]
    forward_agent: true
    port_forwarding: true
    ssh_port_forwarding: {local: {enabled: true}, remote: {enabled: false}}
    permit_x11_forwarding: false
    ssh_file_copy: true
    create_host_user: false
    create_host_user_mode: keep
    create_host_user_default_shell: /bin/bash
    create_db_user: false
    create_db_user_mode: off
    desktop_clipboard: true
    desktop_directory_sharing: false
    create_desktop_user: false
    web_terminal_clipboard_mode: no-copy
  allow:
    namespaces: [default]
    logins: [root, '{{internal.logins}}']
    node_labels: {env: [dev, stage]}
    node_labels_expression: contains(user.spec.traits["team"], labels["team"])
    host_groups: [wheel]
    host_sudoers: ['ALL=(root) NOPASSWD: /usr/bin/systemctl']
    windows_desktop_labels: {os: '^windows-(10|11)$'}
    windows_desktop_labels_expression: labels["os"] == "w"
    windows_desktop_logins: [Administrator]
    desktop_groups: [Users]
    linux_desktop_labels: {'*': '*'}
    linux_desktop_labels_expression: labels["os"] == "l"
    linux_desktop_logins: [me]
    kubernetes_labels: {env: dev}
    kubernetes_labels_expression: labels["env"] == "dev"
    kubernetes_groups: [viewers]
    kubernetes_users: ['{{email.local(external.email)}}']
    kubernetes_resources: [{kind: pods, api_group: '', namespace: shop, name: '*', verbs: [get, list]}]
    db_labels: {env: [prod, 'stage-*'], team: '{{external.team}}'}
    db_users: [app, 'ro_*', '^svc-[0-9]+$', '{{internal.db_users}}']
    db_names: ['*']
    db_service_labels: {'*': '*'}
    app_labels: {env: dev}
    app_labels_expression: labels["env"] == "dev"
    app_resources: [{allow_all: true}]
    aws_role_arns: ['arn:aws:iam::1:role/x']
    azure_identities: [/subscriptions/x]
    gcp_service_accounts: [x@y.test]
    mcp: {tools: ['read_*', '^list_.*$']}
    group_labels: {x: y}
    group_labels_expression: labels["x"] == "y"
    account_assignments: [{account: '1', permission_set: ro}]
    github_permissions: [{orgs: [shop]}]
    cluster_labels: {region: eu}
    cluster_labels_expression: labels["region"] == "eu"
    workload_identity_labels: {env: dev}
    workload_identity_labels_expression: labels["env"] == "dev"
    spiffe: [{path: /svc/*, dns_sans: [svc.test], ip_sans: [10.0.0.0/8]}]
    beam_labels: {env: dev}
    join_sessions: [{name: watch, roles: [dev], kinds: [ssh, k8s], modes: [observer, moderator, peer]}]
    require_session_join: [{name: two, filter: 'contains(user.spec.roles, "x")', kinds: [ssh], modes: [moderator], count: 1, on_leave: pause}]
    request:
      roles: [dba]
      claims_to_roles: [{claim: team, value: shop, roles: [dba]}]
      search_as_roles: [dba]
      kubernetes_resources: [{kind: pods}]
      thresholds: [{name: two, approve: 2, deny: 1, filter: 'true'}]
      suggested_reviewers: [bob]
      annotations: {service: [shop]}
      max_duration: 4h
      reason: {mode: required, prompt: Why?}
    review_requests: {roles: [dba], claims_to_roles: [{claim: a, value: b, roles: [c]}], preview_as_roles: [dba], where: 'true', submit_for_users: [carol]}
    impersonate: {users: [bot], roles: [ci], where: 'true'}
    rules:
      - {resources: [session], verbs: [list, read], where: 'contains(session.participants, user.metadata.name)', actions: ['log("x")']}
      - {resources: [role, user], verbs: ['*']}
  deny:
    db_labels: {env: audit}
    db_users: [postgres]
    db_names: [template1]
    rules: [{resources: [token], verbs: [list, create, read, readnosecrets, update, delete, rotate, use, create_enroll_token, enroll]}]
`

function role(text: string): RoleResource {
  const [resource] = parseDocuments(text)
  if (resource?.kind !== 'role') throw new Error('no role')
  return resource
}

function withSpec(spec: string, version = 'v7'): RoleResource {
  return role(`{kind: role, version: ${version}, metadata: {name: r}, spec: ${spec}}`)
}

interface Asked {
  readonly labels?: Readonly<Record<string, string>>
  readonly principal?: string
  readonly resource?: string
}

function decided(roles: readonly RoleResource[], asked: Asked = {}): Decision {
  const ref = { kind: 'db', name: 'orders' } as const
  return decide({
    identity: {
      type: 'user',
      kind: 'human',
      issuer: 'local',
      name: 'alice',
      cluster: 'example.test',
      roles: roles.map(({ metadata }) => metadata.name),
      traits: { team: ['shop'], db_users: ['alice_db'], db_names: ['*'] },
      generation: 0,
    },
    target: { ref, labels: asked.labels ?? { env: 'prod', team: 'shop' } },
    access: {
      target: ref,
      principal: asked.principal ?? 'app',
      resource: asked.resource ?? 'main',
    },
    roles: compileRoles(roles.map(compileRole)),
  })
}

/** WHOLE as the engine reads it. */
const COMPILED: Role = {
  name: 'whole',
  version: 'v9',
  options: {
    maxSessionTtlMs: 30_600_000,
    clientIdleTimeoutMs: 900_000,
    maxConnections: 3,
    dbReplication: true,
    disconnectExpiredCert: true,
    lock: 'strict',
    recordSession: 'best_effort',
    ssh: {
      forwardAgent: true,
      portForwarding: true,
      localForwarding: true,
      remoteForwarding: false,
      maxSessions: 10,
      recordSession: 'strict',
    },
  },
  allow: {
    db: {
      labels: { env: ['prod', 'stage-*'], team: ['{{external.team}}'] },
      users: ['app', 'ro_*', '^svc-[0-9]+$', '{{internal.db_users}}'],
      names: ['*'],
    },
    node: {
      labels: { env: ['dev', 'stage'] },
      labelsExpression: 'contains(user.spec.traits["team"], labels["team"])',
      logins: ['root', '{{internal.logins}}'],
    },
    rules: [
      {
        resources: ['session'],
        verbs: ['list', 'read'],
        where: 'contains(session.participants, user.metadata.name)',
      },
      { resources: ['role', 'user'], verbs: ['*'] },
    ],
  },
  deny: {
    db: { labels: { env: ['audit'] }, users: ['postgres'], names: ['template1'] },
    rules: [
      {
        resources: ['token'],
        verbs: [
          'list',
          'create',
          'read',
          'readnosecrets',
          'update',
          'delete',
          'rotate',
          'use',
          'create_enroll_token',
          'enroll',
        ],
      },
    ],
  },
  unenforced: [
    { field: 'options.create_host_user_mode', kinds: ['node'], effect: 'withholds' },
    { field: 'allow.require_session_join', kinds: ['node'], effect: 'refuses' },
  ],
}

describe('the role schema', () => {
  const whole = role(WHOLE)

  it('takes every field and writes it back so that it reads the same', () => {
    assert.deepEqual(role(renderDocument(whole)), whole)
    assert.equal(whole.metadata.expires, '2029-12-31T23:00:00.000Z')
  })

  it('takes every field of a side on the deny side too', () => {
    const spec = `{deny: ${JSON.stringify(whole.spec.allow)}}`
    assert.deepEqual(withSpec(spec).spec.deny, whole.spec.allow)
  })

  it('refuses an unknown field at any depth', () => {
    const paths = mapsOf(JSON.parse(JSON.stringify(whole)), []).filter(isStrict)
    assert.ok(paths.length > 30)
    fc.assert(
      fc.property(fc.constantFrom(...paths), fc.stringMatching(/^x[a-z]{0,5}$/), (path, key) => {
        const copy: unknown = JSON.parse(JSON.stringify(whole))
        Object.assign(inner(copy, path), { [key]: 'x' })
        assert.throws(() => parseResource(copy), new RegExp(`${key}: unknown field`))
      }),
    )
  })

  it('comes to what the engine reads', () => {
    assert.deepEqual(compileRole(whole), COMPILED)
  })

  it('decides as it reads', () => {
    assert.equal(decided([whole]).allow, true)
    assert.equal(decided([whole], { principal: 'ro_shop' }).allow, true)
    assert.equal(decided([whole], { principal: 'svc-12' }).allow, true)
    assert.equal(decided([whole], { principal: 'alice_db' }).allow, true)
    assert.equal(decided([whole], { principal: 'svc-x' }).allow, false)
    assert.equal(decided([whole], { principal: 'postgres' }).allow, false)
    assert.equal(decided([whole], { resource: 'template1' }).allow, false)
    assert.equal(decided([whole], { labels: { env: 'stage-2', team: 'shop' } }).allow, true)
    assert.equal(decided([whole], { labels: { env: 'prod', team: 'bank' } }).allow, false)
    assert.equal(decided([whole], { labels: { env: 'audit', team: 'shop' } }).allow, false)
  })

  it('refuses patterns and templates that cannot be read', () => {
    for (const spec of [
      '{allow: {db_users: ["^(a$"]}}',
      '{allow: {db_names: ["{{internal.nothing}}"]}}',
      '{deny: {db_labels: {env: ["^(?=a)$"]}}}',
      '{allow: {db_labels: {"*": prod}}}',
      '{allow: {db_labels: {"{{external.x}}": prod}}}',
      '{allow: {db_users: ["{{external.x}}{{external.y}}"]}}',
    ])
      assert.throws(() => withSpec(spec), /spec\./, spec)
  })

  it('refuses a label expression that cannot be read, by its line and column', () => {
    for (const side of ['allow', 'deny'])
      for (const field of ['node_labels_expression', 'db_labels_expression']) {
        const text = `kind: role\nversion: v7\nmetadata: {name: r}\nspec:\n  ${side}:\n    ${field}: 'labels["a"] = "b"'\n`
        assert.throws(
          () => role(text),
          (error) =>
            error instanceof Error &&
            error.message.includes(`spec.${side}.${field}: column 13: write == to compare`) &&
            /\b6\b/.test(error.message),
        )
      }
  })

  it('refuses wrong values by what is expected', () => {
    const bad: Readonly<Record<string, RegExp>> = {
      '{options: {max_session_ttl: 5}}': /duration/,
      '{options: {forward_agent: maybe}}': /true or false/,
      '{options: {lock: harsh}}': /options\.lock/,
      '{options: {max_connections: -1}}': /max_connections/,
      '{allow: {rules: [{resources: [role], verbs: [fly]}]}}': /rules\[0\]\.verbs\[0\]/,
      '{allow: {rules: [{resources: [], verbs: [list]}]}}': /at least one kind/,
      '{allow: {db_labels: {env: 5}}}': /one text or a list/,
      '{allow: {namespaces: [other]}}': /namespaces/,
    }
    for (const [spec, says] of Object.entries(bad)) assert.throws(() => withSpec(spec), says, spec)
    assert.throws(() => withSpec('{}', 'v10'), /expected one of v3, v4/)
    assert.throws(() => withSpec('{}', 'v2'), /expected one of/)
  })
})

describe('a role version', () => {
  it('v3 takes missing labels as all, later ones as none', () => {
    const spec = '{allow: {db_users: ["*"], db_names: ["*"]}}'
    assert.equal(decided([withSpec(spec, 'v3')]).allow, true)
    for (const version of ['v4', 'v5', 'v6', 'v7', 'v8', 'v9'])
      assert.equal(decided([withSpec(spec, version)]).allow, false, version)
  })

  it('v3 does not take missing labels of a deny as all', () => {
    const open = withSpec(
      '{allow: {db_labels: {"*": "*"}, db_users: ["*"], db_names: ["*"]}, deny: {db_users: [x]}}',
      'v3',
    )
    assert.equal(decided([open]).allow, true)
  })
})

describe('label expressions of a role', () => {
  const OWN = 'contains(user.spec.traits["team"], labels["team"])'
  const MAP = 'db_labels: {env: prod}'
  const ALLOWED = 'db_users: ["*"], db_names: ["*"]'
  const may = (spec: string, labels: Asked['labels'], version?: string): boolean =>
    decided([withSpec(spec, version)], labels === undefined ? {} : { labels }).allow

  it('allow by themselves, and together with a label map', () => {
    for (const version of ['v3', 'v7']) {
      const alone = `{allow: {${ALLOWED}, db_labels_expression: '${OWN}'}}`
      assert.equal(may(alone, { team: 'shop' }, version), true)
      assert.equal(may(alone, { team: 'bank' }, version), false)
    }
    const both = `{allow: {${ALLOWED}, ${MAP}, db_labels_expression: '${OWN}'}}`
    assert.equal(may(both, { env: 'prod', team: 'shop' }), true)
    assert.equal(may(both, { env: 'dev', team: 'shop' }), false)
    assert.equal(may(both, { env: 'prod', team: 'bank' }), false)
  })

  it('deny by themselves', () => {
    const spec = `{allow: {${ALLOWED}, db_labels: {'*': '*'}}, deny: {db_labels_expression: '${OWN}'}}`
    assert.equal(may(spec, { team: 'shop' }), false)
    assert.equal(may(spec, { team: 'bank' }), true)
  })

  it('are enforced, so that nothing warns of them', () => {
    const spec = `{allow: {logins: [root], node_labels_expression: '${OWN}'}, deny: {node_labels_expression: 'labels.a == "b"'}}`
    const resource = withSpec(spec)
    assert.deepEqual(roleWarnings(resource), [])
    assert.equal(compileRole(resource).deny.node?.labelsExpression, 'labels.a == "b"')
  })
})

const OPEN = 'db_labels: {"*": "*"}, db_users: ["*"], db_names: ["*"]'
const EVERYTHING = [...TARGET_KINDS, 'rules']

const UNENFORCED: readonly (readonly [
  spec: string,
  field: string,
  effect: Unenforced['effect'],
  kinds: readonly string[],
])[] = [
  ['options: {require_session_mfa: true}', 'options.require_session_mfa', 'demands', TARGET_KINDS],
  ['options: {require_session_mfa: yes}', 'options.require_session_mfa', 'demands', TARGET_KINDS],
  [
    'options: {require_session_mfa: hardware_key}',
    'options.require_session_mfa',
    'refuses',
    EVERYTHING,
  ],
  ['options: {device_trust_mode: required}', 'options.device_trust_mode', 'demands', TARGET_KINDS],
  [
    'options: {device_trust_mode: required-for-humans}',
    'options.device_trust_mode',
    'demands',
    TARGET_KINDS,
  ],
  ['options: {pin_source_ip: true}', 'options.pin_source_ip', 'refuses', EVERYTHING],
  ['options: {request_access: always}', 'options.request_access', 'refuses', EVERYTHING],
  ['options: {request_access: reason}', 'options.request_access', 'refuses', EVERYTHING],
  ['options: {create_db_user: true}', 'options.create_db_user', 'withholds', ['db']],
  ['options: {create_db_user_mode: keep}', 'options.create_db_user_mode', 'withholds', ['db']],
  [`allow: {${OPEN}, db_roles: [reader]}`, 'allow.db_roles', 'withholds', ['db']],
  [
    `allow: {${OPEN}, db_permissions: [{match: {a: b}, permissions: [SELECT]}]}`,
    'allow.db_permissions',
    'withholds',
    ['db'],
  ],
  [
    `allow: {${OPEN}, db_service_labels: {env: prod}}`,
    'allow.db_service_labels',
    'withholds',
    ['db'],
  ],
  [`deny: {db_service_labels: {'*': '*'}}`, 'deny.db_service_labels', 'withholds', ['db']],
]

describe('a field that nothing enforces', () => {
  for (const [spec, field, effect, kinds] of UNENFORCED)
    it(`${field} in {${spec.slice(0, 60)}} makes the role grant nothing, and is named`, () => {
      const full = spec.includes('allow:') ? `{${spec}}` : `{${spec}, allow: {${OPEN}}}`
      const resource = withSpec(full)
      const named = compileRole(resource).unenforced.find((each) => each.field === field)
      assert.deepEqual(named, { field, kinds, effect })
      const decision = decided([resource])
      assert.equal(decision.allow, false)
      assert.ok(JSON.stringify(decision).includes(field))
      assert.ok(
        roleWarnings(resource).some((text) => text.includes(`spec.${field} is not enforced`)),
      )
    })

  it('is not set by a value that means off', () => {
    const off = `{options: {require_session_mfa: false, device_trust_mode: optional, pin_source_ip: false, request_access: optional, create_db_user_mode: off, record_session: {default: best_effort, desktop: true, ssh: strict}}, allow: {${OPEN}, db_labels_expression: '', db_roles: [], db_permissions: [], db_service_labels: {'*': ['*']}}}`
    assert.deepEqual(compileRole(withSpec(off)).unenforced, [])
    assert.equal(decided([withSpec(off)]).allow, true)
  })

  it('of a kind without a service changes nothing and is not warned of', () => {
    const kube = withSpec(
      `{options: {forward_agent: true, max_sessions: 1}, allow: {${OPEN}, kubernetes_labels_expression: 'true', node_labels: {a: b}, logins: [root]}}`,
    )
    assert.deepEqual(roleWarnings(kube), [])
    assert.equal(decided([kube]).allow, true)
  })
})

describe('warnings', () => {
  it('tell of conditions, unknown kinds, and rights that do not exist yet', () => {
    const text = roleWarnings(
      withSpec(
        '{allow: {rules: [{resources: [rolle], verbs: [list], where: "true", actions: [x]}], impersonate: {roles: [a]}, request: {roles: [b]}, db_users: ["^{{external.x}}$"]}, deny: {rules: [{resources: [role], verbs: [list], where: "true"}]}}',
      ),
    ).join('\n')
    assert.match(text, /spec\.allow\.rules\[0\] names the kind "rolle"/)
    assert.match(
      text,
      /spec\.allow\.rules\[0\]\.where is not enforced yet, so the rule grants nothing/,
    )
    assert.match(
      text,
      /spec\.deny\.rules\[0\]\.where is not enforced yet, so the rule denies always/,
    )
    assert.match(text, /rules\[0\]\.actions has no effect/)
    assert.match(text, /spec\.allow\.impersonate has no effect yet/)
    assert.match(text, /spec\.allow\.request has no effect yet/)
    assert.match(text, /matched as text/)
  })
})

describe('the presets', () => {
  it('are good resources without warnings', () => {
    assert.deepEqual(
      presetRoles().map(({ metadata }) => metadata.name),
      ['access', 'editor', 'auditor'],
    )
    for (const preset of presetRoles()) {
      assert.deepEqual(parseResource(preset), preset)
      assert.deepEqual(roleWarnings(preset), [])
    }
  })

  it('let access reach databases as its traits say, and the others none', () => {
    const [access, ...others] = presetRoles()
    assert.ok(access)
    assert.equal(decided([access], { principal: 'alice_db' }).allow, true)
    assert.equal(decided([access], { principal: 'postgres' }).allow, false)
    assert.equal(decided(others, { principal: 'alice_db' }).allow, false)
  })
})

type Path = readonly (string | number)[]

/** Where maps are, by path. */
function mapsOf(value: unknown, path: Path): readonly Path[] {
  if (typeof value !== 'object' || value === null) return []
  const own = Array.isArray(value) ? [] : [path]
  const steps = Array.isArray(value)
    ? value.map((each: unknown, i) => [i, each] as const)
    : Object.entries(value)
  return [...own, ...steps.flatMap(([step, each]) => mapsOf(each, [...path, step]))]
}

/** Maps whose keys are the user's own take any. */
function isStrict(path: Path): boolean {
  const last = path[path.length - 1]
  return !(typeof last === 'string' && (last.endsWith('labels') || last === 'annotations'))
}

function inner(value: unknown, path: Path): object {
  let found: unknown = value
  for (const step of path)
    if (typeof found === 'object' && found !== null) found = Reflect.get(found, step)
  if (typeof found !== 'object' || found === null) throw new Error('no map')
  return found
}
