// `tctl auth`: keys and certificates of CAs to hand out, server certificates for databases, host certificates for stock sshds. A
// private key is drawn here and never leaves this machine; control signs its public half.

import { existsSync } from 'node:fs'
import path from 'node:path'

import { CA_TYPES } from '../../control/api/ca-types.ts'
import { sshBlobOf } from '../../control/signer/ssh-key.ts'
import { type CommandSpec, type Input, usage } from '../command.ts'
import { durationOption } from '../duration.ts'
import { CommandError } from '../exit.ts'
import { newKey } from '../new-key.ts'
import { writeWhole } from '../profile.ts'
import { timeText } from '../render.ts'
import type { Tools } from '../tools.ts'
import { withAdministrator } from './administrator.ts'

/** What a database keeps for a quarter, as the reference product proposes. */
const SIGN_TTL_DEFAULT_MS = 2190 * 3_600_000

export const authExport: CommandSpec = {
  options: [{ flags: '--type <ca>', about: CA_TYPES.join(', '), choices: CA_TYPES }],
  about: 'Lines for OpenSSH (user, host, openssh) or certificates as PEM.',
  examples: [
    'tctl auth export --type=db-client > db-client-ca.pem',
    'tctl auth export --type=host >> ~/.ssh/known_hosts',
    'tctl auth export --type=openssh > /etc/ssh/sluice_openssh_ca.pub',
  ],
  async run(input, tools) {
    if (input.text('type') === undefined) throw usage('which CA?', `--type=${CA_TYPES.join('|')}`)
    const type = input.choice('type', CA_TYPES, 'user')
    const { pem } = await withAdministrator(tools, input, (client) =>
      client.call('auth-export', { type }),
    )
    tools.out(pem)
  },
}

export const authSign: CommandSpec = {
  options: [
    {
      flags: '--format <format>',
      about: 'db: a server certificate for a database; openssh: a host certificate for an sshd',
      choices: ['db', 'openssh'],
    },
    {
      flags: '--host <names>',
      about: 'names and addresses it is dialled by, with commas',
      many: true,
    },
    {
      flags: '-o, --out <prefix>',
      about:
        'where to write: PREFIX.key, PREFIX.crt, PREFIX.cas; openssh: PREFIX, PREFIX-cert.pub, PREFIX-ca.pub',
    },
    { flags: '--ttl <duration>', about: 'how long it is valid; 2190h when absent' },
    {
      flags: '--targets <names>',
      about: 'names the database has in Sluice, for pg_ident.conf',
      many: true,
    },
    { flags: '--overwrite', about: 'replace files that are there' },
  ],
  examples: [
    'tctl auth sign --format=db --host=db1.example.com,10.0.0.5 --targets=orders --out=server',
    'tctl auth sign --format=openssh --host=old.example.com --out=ssh_host_sluice_key',
  ],
  async run(input, tools) {
    const format = input.text('format')
    if (format !== 'db' && format !== 'openssh')
      throw usage('which format?', '--format=db or --format=openssh.')
    const hosts = input.list('host')
    if (hosts.length === 0) throw usage('which host?', '--host=NAME as it is dialled.')
    const prefix = input.text('out')
    if (prefix === undefined) throw usage('where to?', '--out=server writes server.key and others.')
    const ttlMs = durationOption('ttl', input.text('ttl')) ?? SIGN_TTL_DEFAULT_MS
    const wish = { hosts, prefix, ttlMs }
    await (format === 'db' ? signDatabase(input, tools, wish) : signSshHost(input, tools, wish))
  },
}

interface SignWish {
  readonly hosts: readonly string[]
  readonly prefix: string
  readonly ttlMs: number
}

async function signDatabase(input: Input, tools: Tools, wish: SignWish): Promise<void> {
  const { hosts, prefix, ttlMs } = wish
  const file = freeFiles(input, prefix, ['.key', '.crt', '.cas'])
  const targets = input.list('targets')
  const { key, publicKey } = newKey()
  const reply = await withAdministrator(tools, input, (client) =>
    client.call('auth-sign', {
      format: 'db',
      hosts,
      publicKey,
      ttlMs,
      ...(targets.length === 0 ? {} : { targets }),
    }),
  )
  writeWhole(file('.key'), key)
  writeWhole(file('.crt'), reply.certificate)
  writeWhole(file('.cas'), reply.cas.db_client.join(''))
  tools.out(instructions(prefix, reply.pgHba, reply.pgIdent, reply.expiresAtMs))
}

async function signSshHost(input: Input, tools: Tools, wish: SignWish): Promise<void> {
  const { hosts, prefix, ttlMs } = wish
  const file = freeFiles(input, prefix, ['', '-cert.pub', '-ca.pub'])
  const { key, publicKey: spki } = newKey()
  const publicKey = Buffer.from(sshBlobOf(Buffer.from(spki, 'base64'))).toString('base64')
  const [reply, ca] = await withAdministrator(tools, input, async (client) => [
    await client.call('auth-sign-ssh-host', { hosts, publicKey, ttlMs }),
    await client.call('auth-export', { type: 'openssh' }),
  ])
  const [first = ''] = hosts
  writeWhole(file(''), key)
  writeWhole(file('-cert.pub'), `${CERTIFIED_KEY_TYPE} ${reply.certificate} ${first}\n`)
  writeWhole(file('-ca.pub'), ca.pem)
  tools.out(sshInstructions(prefix, reply.expiresAtMs))
}

/** Keys that `newKey` draws: sshd reads them as PEM, which it does not for Ed25519. */
const CERTIFIED_KEY_TYPE = 'ecdsa-sha2-nistp256-cert-v01@openssh.com'

/** Paths behind a prefix; none of them is there, unless it may be replaced. */
function freeFiles(
  input: Input,
  prefix: string,
  endings: readonly string[],
): (ending: string) => string {
  const file = (ending: string): string => path.resolve(`${prefix}${ending}`)
  const taken = endings.map(file).find((name) => existsSync(name))
  if (taken !== undefined && !input.flag('overwrite'))
    throw new CommandError(`${taken} is there already`, undefined, 'Add --overwrite to replace it.')
  return file
}

function sshInstructions(prefix: string, expiresAtMs: number): string {
  return [
    `Written: ${prefix}, ${prefix}-cert.pub, ${prefix}-ca.pub; valid until ${timeText(expiresAtMs)}.`,
    '',
    'Copy them to /etc/ssh on the server (the key 0600, of root), and add to sshd_config:',
    `  HostKey /etc/ssh/${path.basename(prefix)}`,
    `  HostCertificate /etc/ssh/${path.basename(prefix)}-cert.pub`,
    `  TrustedUserCAKeys /etc/ssh/${path.basename(prefix)}-ca.pub`,
    '',
    'Then register the server: `tctl create` with a resource node of sub_kind openssh.',
    '',
  ].join('\n')
}

function instructions(
  prefix: string,
  hba: readonly string[],
  ident: readonly string[],
  expiresAtMs: number,
): string {
  return [
    `Written: ${prefix}.key, ${prefix}.crt, ${prefix}.cas; valid until ${timeText(expiresAtMs)}.`,
    '',
    'postgresql.conf:',
    '  ssl = on',
    `  ssl_cert_file = '${prefix}.crt'`,
    `  ssl_key_file = '${prefix}.key'`,
    `  ssl_ca_file = '${prefix}.cas'`,
    '',
    'pg_hba.conf (in place of lines that let the same users in otherwise):',
    ...hba.map((line) => `  ${line}`),
    '',
    'pg_ident.conf:',
    ...ident.map((line) => `  ${line}`),
    '',
  ].join('\n')
}
