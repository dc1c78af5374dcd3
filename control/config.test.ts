// sluice.yaml: what is accepted, what is refused, and that every refusal names its line.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'

import { durationMs, loadConfig, sizeBytes } from './config.ts'

const GOOD = `version: v3
teleport:
  nodename: db-host-1
  data_dir: /srv/sluice
  proxy_server: proxy.example.com:443
  auth_token: secret
  ca_pin: sha256:00
auth_service:
  enabled: no
proxy_service:
  enabled: no
ssh_service:
  enabled: no
db_service:
  enabled: yes
  databases:
    - name: orders
      protocol: postgres
      uri: 10.0.0.5:5432
      static_labels: {env: prod}
`

function refusal(text: string): string {
  try {
    loadConfig(text, 'sluice.yaml')
  } catch (error) {
    return error instanceof Error ? error.message : ''
  }
  return 'accepted'
}

describe('sluice.yaml', () => {
  it('says how long and how much control keeps of recordings', () => {
    const { auth_service: auth } = loadConfig(
      'auth_service: {recordings_retention: 90d, recordings_size_max: 500GB}',
      'sluice.yaml',
    )
    assert.equal(durationMs(auth.recordings_retention ?? ''), 90 * 86_400_000)
    assert.equal(sizeBytes(auth.recordings_size_max ?? ''), 500 * 2 ** 30)
    for (const wrong of ['500', '1.5GB', '10KB', 'GB'])
      assert.match(refusal(`auth_service:\n  recordings_size_max: ${wrong}\n`), /line 2|:2/, wrong)
  })

  it('reads the reference product’s sections and words', () => {
    const config = loadConfig(GOOD, 'sluice.yaml')
    assert.equal(config.sluice.data_dir, '/srv/sluice')
    assert.equal(config.auth_service.enabled, false)
    assert.equal(config.db_service.databases[0]?.uri, '10.0.0.5:5432')
    assert.deepEqual(config.db_service.databases[0]?.static_labels, { env: 'prod' })
  })

  it('takes an empty file as a machine that runs control and proxy', () => {
    const config = loadConfig('', 'sluice.yaml')
    assert.equal(config.auth_service.enabled, true)
    assert.equal(config.proxy_service.web_listen_addr, '0.0.0.0:443')
    assert.equal(config.db_service.enabled, false)
  })

  it('refuses an unknown key with its line', () => {
    assert.match(
      refusal('proxy_service:\n  enabled: yes\n  web_lisen_addr: 0.0.0.0:1\n'),
      /^sluice\.yaml:3: .*web_lisen_addr is not a known key/,
    )
  })

  it('refuses a known key that is not built yet by name', () => {
    assert.match(
      refusal('proxy_service:\n  acme: {enabled: yes}\n'),
      /:2: proxy_service\.acme is known but not built yet/,
    )
  })

  it('refuses a service that is not built yet unless it is off', () => {
    assert.match(refusal('app_service:\n  enabled: yes\n'), /:1: app_service is not built yet/)
    assert.equal(refusal('app_service: {enabled: no}\n'), 'accepted')
  })

  it('reads what a node says of itself', () => {
    const text = `ssh_service:
  enabled: yes
  labels: {env: prod}
  commands:
    - {name: kernel, command: [uname, -r]}
    - {name: load, command: [cut, "-d ", -f1, /proc/loadavg], period: 30s}
  ssh_file_copy: no
  x11: {enabled: yes, display_offset: 20}
  disable_create_host_user: no
  pam: {enabled: no, service_name: sshd}
  permit_user_env: no
`
    assert.deepEqual(loadConfig(text, 'sluice.yaml').ssh_service, {
      enabled: true,
      labels: { env: 'prod' },
      commands: [
        { name: 'kernel', command: ['uname', '-r'], period: '1m' },
        { name: 'load', command: ['cut', '-d ', '-f1', '/proc/loadavg'], period: '30s' },
      ],
      ssh_file_copy: false,
      port_forwarding: true,
      x11: { enabled: true, display_offset: 20, max_display: 1020 },
      disable_create_host_user: false,
    })
  })

  it('runs no SSH service that nobody asked for', () => {
    const { enabled, x11 } = loadConfig('', 'sluice.yaml').ssh_service
    assert.equal(enabled, false)
    assert.equal(x11.enabled, false)
  })

  it('refuses of a node what is not built, and what is none, each with its line', () => {
    const of = (line: string): string => refusal(`ssh_service:\n  enabled: yes\n  ${line}\n`)
    assert.match(of('permit_user_env: yes'), /:3: .*permit_user_env is not built yet/)
    assert.match(of('pam: {enabled: yes}'), /:3: .*pam is not built yet/)
    for (const key of ['listen_addr', 'public_addr', 'enhanced_recording', 'force_listen'])
      assert.match(of(`${key}: x`), new RegExp(`:3: ssh_service.${key} is known but not built yet`))
    assert.match(of('lables: {}'), /:3: ssh_service.lables is not a known key/)
    assert.match(of('commands: [{name: a, command: []}]'), /:3: /)
    assert.match(of('commands: [{name: a, command: [x], period: 1ms}]'), /:3: .*at least 1 s/)
    assert.match(of('commands: [{name: "a b", command: [x]}]'), /:3: .*a label has/)
    assert.match(of('x11: {display_offset: 5, max_display: 4}'), /:3: .*below display_offset/)
  })

  it('names the list item a fault is in', () => {
    const text =
      'db_service:\n  databases:\n    - name: a\n      protocol: postgres\n      uri: nowhere\n'
    assert.match(refusal(text), /:5: db_service\.databases\.0\.uri: must be host:port/)
  })

  it('refuses anchors, aliases, tags, duplicate keys and prototype keys', () => {
    assert.match(refusal('a: &x 1\n'), /:1: anchors are not allowed/)
    assert.match(refusal('sluice: !!js/function x\n'), /:1: /)
    assert.match(refusal('sluice: {}\nsluice: {}\n'), /:2: /)
    assert.match(refusal('__proto__: {}\n'), /:1: keys named __proto__/)
    assert.match(refusal('sluice: {}\nteleport: {}\n'), /same section/)
  })

  it('refuses a billion laughs before it is expanded', () => {
    const bomb = `a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]\n`
    assert.match(refusal(bomb), /not allowed/)
  })

  it('reads durations of several units', () => {
    assert.equal(durationMs('8h30m'), 30_600_000)
    assert.equal(durationMs('90s'), 90_000)
  })
})
