// `sluice configure`: a sluice.yaml to begin with, for a control and proxy machine or for an agent. What it prints passes the
// same checks as every configuration.

import { writeFileSync } from 'node:fs'

import { loadConfig } from '../../control/config.ts'
import { CommandError, EXIT } from '../exit.ts'

const ROLES = ['auth', 'proxy', 'db', 'node'] as const

export function configure(options: Readonly<Record<string, string>>): void {
  const text = configText(options)
  loadConfig(text, 'the generated configuration')
  const { output } = options
  if (output === undefined || output === '-') {
    process.stdout.write(text)
    return
  }
  writeFileSync(output, text, { mode: 0o600, flag: 'wx' })
  process.stderr.write(`Wrote ${output}. Read it, then run: sluice start -c ${output}\n`)
}

/** The text for these options. */
export function configText(options: Readonly<Record<string, string>>): string {
  const roles = new Set((options['roles'] ?? 'auth,proxy').split(','))
  const unknown = [...roles].find((role) => !ROLES.some((known) => known === role))
  if (unknown !== undefined)
    throw new CommandError(
      `there is no role "${unknown}"`,
      EXIT.usage,
      `Roles are ${ROLES.join(', ')}.`,
    )
  return [
    '# Configuration of Sluice. docs/configuration.md lists every key. Keep this file 0600: it may hold a token.',
    'version: v3',
    ...globalLines(options, roles),
    ...authLines(options, roles.has('auth')),
    ...proxyLines(options, roles.has('proxy')),
    ...dbLines(roles.has('db')),
    ...sshLines(roles.has('node')),
    '',
  ].join('\n')
}

function globalLines(
  options: Readonly<Record<string, string>>,
  roles: ReadonlySet<string>,
): string[] {
  const { dataDir = '/var/lib/sluice', proxy, token, caPin } = options
  return [
    'sluice:',
    `  data_dir: ${JSON.stringify(dataDir)}`,
    ...(proxy === undefined ? [] : [`  proxy_server: ${JSON.stringify(proxy)}`]),
    ...(token === undefined ? [] : [`  auth_token: ${JSON.stringify(token)}`]),
    ...(caPin === undefined ? [] : [`  ca_pin: ${JSON.stringify(caPin)}`]),
    ...(roles.has('auth')
      ? [
          '  # Wraps the CA keys on disk. Make it: openssl rand -base64 32 > /etc/sluice.passphrase; chmod 600 …',
          '  key_passphrase_file: /etc/sluice.passphrase',
        ]
      : []),
  ]
}

function authLines(options: Readonly<Record<string, string>>, enabled: boolean): string[] {
  if (!enabled) return ['auth_service:', '  enabled: no']
  const { clusterName } = options
  return [
    'auth_service:',
    '  enabled: yes',
    '  listen_addr: 0.0.0.0:3025',
    clusterName === undefined
      ? '  # cluster_name: example.com   # cannot change later; this machine’s name when absent'
      : `  cluster_name: ${JSON.stringify(clusterName)}`,
  ]
}

function proxyLines(options: Readonly<Record<string, string>>, enabled: boolean): string[] {
  if (!enabled) return ['proxy_service:', '  enabled: no']
  const { publicAddr } = options
  return [
    'proxy_service:',
    '  enabled: yes',
    '  web_listen_addr: 0.0.0.0:443',
    publicAddr === undefined
      ? '  # public_addr: example.com:443'
      : `  public_addr: ${JSON.stringify(publicAddr)}`,
    '  # https_keypairs:',
    '  #   - key_file: /etc/ssl/private/example.com.key',
    '  #     cert_file: /etc/ssl/certs/example.com.pem',
  ]
}

function dbLines(enabled: boolean): string[] {
  if (!enabled) return ['db_service:', '  enabled: no']
  return [
    'db_service:',
    '  enabled: yes',
    '  databases:',
    '    - name: orders',
    '      description: example; replace it',
    '      protocol: postgres',
    '      uri: localhost:5432',
    '      static_labels:',
    '        env: dev',
  ]
}

function sshLines(enabled: boolean): string[] {
  if (!enabled) return ['ssh_service:', '  enabled: no']
  return [
    'ssh_service:',
    '  enabled: yes',
    '  labels:',
    '    env: dev',
    '  # commands:   # labels whose values are what a command prints',
    '  #   - {name: kernel, command: [uname, -r], period: 1h}',
  ]
}
