// `tctl auth`: CA certificates to hand out, and server certificates for databases. A private key is drawn here and never leaves
// this machine; control signs its public half.

import { existsSync } from 'node:fs'
import path from 'node:path'

import { CA_TYPES } from '../../control/api/ca-types.ts'
import { type CommandSpec, usage } from '../command.ts'
import { durationOption } from '../duration.ts'
import { CommandError } from '../exit.ts'
import { newKey } from '../new-key.ts'
import { writeWhole } from '../profile.ts'
import { timeText } from '../render.ts'
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
      about: 'db: a server certificate for a database',
      choices: ['db'],
    },
    { flags: '--host <names>', about: 'names and addresses agents dial, with commas', many: true },
    { flags: '-o, --out <prefix>', about: 'where to write: PREFIX.key, PREFIX.crt, PREFIX.cas' },
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
  ],
  async run(input, tools) {
    if (input.text('format') !== 'db') throw usage('which format?', 'Only --format=db so far.')
    const hosts = input.list('host')
    if (hosts.length === 0) throw usage('which host?', '--host=NAME as agents dial it.')
    const prefix = input.text('out')
    if (prefix === undefined) throw usage('where to?', '--out=server writes server.key and others.')
    const ending = (name: string): string => path.resolve(`${prefix}.${name}`)
    const taken = ['key', 'crt', 'cas'].map(ending).find(existsSync)
    if (taken !== undefined && !input.flag('overwrite'))
      throw new CommandError(
        `${taken} is there already`,
        undefined,
        'Add --overwrite to replace it.',
      )
    const targets = input.list('targets')
    const { key, publicKey } = newKey()
    const reply = await withAdministrator(tools, input, (client) =>
      client.call('auth-sign', {
        format: 'db',
        hosts,
        publicKey,
        ttlMs: durationOption('ttl', input.text('ttl')) ?? SIGN_TTL_DEFAULT_MS,
        ...(targets.length === 0 ? {} : { targets }),
      }),
    )
    writeWhole(ending('key'), key)
    writeWhole(ending('crt'), reply.certificate)
    writeWhole(ending('cas'), reply.cas.db_client.join(''))
    tools.out(instructions(prefix, reply.pgHba, reply.pgIdent, reply.expiresAtMs))
  },
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
