// The commands of `tctl`. A row's file is loaded when the command is typed; nothing here may import it outright.

import type { ProgramSpec } from '../program.ts'

export const TCTL: ProgramSpec = {
  name: 'tctl',
  about: 'Administer a Sluice cluster',
  options: [
    {
      flags: '-c, --config <file>',
      about: 'sluice.yaml of the control on this machine (SLUICE_CONFIG_FILE, /etc/sluice.yaml)',
    },
    {
      flags: '--auth-server <host:port>',
      about: 'go through this proxy with the login of tsh, not through this machine’s socket',
    },
    { flags: '-d, --debug', about: 'say more about failures' },
  ],
  groups: {
    users: 'local users',
    tokens: 'join tokens',
    auth: 'CA certificates',
    audit: 'the audit log',
    recordings: 'recorded sessions',
    db: 'databases',
    'db credentials': 'passwords of database users without a certificate',
    nodes: 'machines people reach by SSH',
  },
  rows: [
    {
      words: 'status',
      summary: 'the cluster, its CAs and pins, who has joined',
      load: async () => (await import('./status.ts')).status,
    },
    {
      words: 'users add',
      summary: 'create a user and print the invite',
      load: async () => (await import('./users.ts')).usersAdd,
    },
    {
      words: 'users ls',
      summary: 'list users',
      load: async () => (await import('./users.ts')).usersLs,
    },
    {
      words: 'users rm',
      summary: 'remove a user',
      load: async () => (await import('./users.ts')).usersRm,
    },
    {
      words: 'users reset',
      summary: 'remove password and codes, and invite anew',
      load: async () => (await import('./users.ts')).usersReset,
    },
    {
      words: 'tokens add',
      summary: 'make a join token',
      load: async () => (await import('./tokens.ts')).tokensAdd,
    },
    {
      words: 'tokens ls',
      summary: 'list join tokens',
      load: async () => (await import('./tokens.ts')).tokensLs,
    },
    {
      words: 'tokens rm',
      summary: 'remove a join token',
      load: async () => (await import('./tokens.ts')).tokensRm,
    },
    {
      words: 'nodes ls',
      summary: 'list the machines people reach by SSH',
      load: async () => (await import('./nodes.ts')).nodesLs,
    },
    {
      words: 'nodes add',
      summary: 'let another machine become a node',
      load: async () => (await import('./nodes.ts')).nodesAdd,
    },
    {
      words: 'get',
      summary: 'print resources',
      load: async () => (await import('./resources.ts')).get,
    },
    {
      words: 'create',
      summary: 'create resources from a file',
      load: async () => (await import('./resources.ts')).create,
    },
    {
      words: 'edit',
      summary: 'edit a resource',
      load: async () => (await import('./edit.ts')).edit,
    },
    {
      words: 'rm',
      summary: 'remove a resource',
      load: async () => (await import('./resources.ts')).rm,
    },
    {
      words: 'auth export',
      summary: 'print the keys or certificates of a CA',
      load: async () => (await import('./auth.ts')).authExport,
    },
    {
      words: 'auth sign',
      summary: 'make a certificate for a database or an sshd',
      load: async () => (await import('./auth.ts')).authSign,
    },
    {
      words: 'audit ls',
      summary: 'list audit events',
      load: async () => (await import('./audit.ts')).auditLs,
    },
    {
      words: 'audit verify',
      summary: 'check the audit log',
      load: async () => (await import('./audit.ts')).auditVerify,
    },
    {
      words: 'audit export',
      summary: 'write the audit log as JSON lines',
      load: async () => (await import('./audit.ts')).auditExport,
    },
    {
      words: 'recordings ls',
      summary: 'list recorded sessions',
      load: async () => (await import('./recordings.ts')).recordingsLs,
    },
    {
      words: 'recordings export',
      summary: 'write the recording of a session to a file',
      load: async () => (await import('./recordings.ts')).recordingsExport,
    },
    {
      words: 'recordings verify',
      summary: 'check the recording of a session',
      load: async () => (await import('./recordings.ts')).recordingsVerify,
    },
    {
      words: 'explain',
      summary: 'why a decision came out as it did',
      load: async () => (await import('./explain.ts')).explain,
    },
    {
      words: 'lock',
      summary: 'shut somebody or something out',
      load: async () => (await import('./lock.ts')).lock,
    },
    {
      words: 'db ls',
      summary: 'databases with their owners and agents',
      load: async () => (await import('./db-ls.ts')).dbLs,
    },
    {
      words: 'db credentials add',
      summary: 'store the password of a database user',
      load: async () => (await import('./db-credentials.ts')).credentialsAdd,
    },
    {
      words: 'db credentials ls',
      summary: 'list whose passwords are stored',
      load: async () => (await import('./db-credentials.ts')).credentialsLs,
    },
    {
      words: 'db credentials rm',
      summary: 'remove a stored password',
      load: async () => (await import('./db-credentials.ts')).credentialsRm,
    },
    {
      words: 'completion',
      summary: 'print a completion script for a shell',
      load: async () => (await import('../completion.ts')).completionOf(TCTL),
    },
    {
      words: 'version',
      summary: 'print the version',
      load: async () => (await import('../tsh/version.ts')).versionOf('tctl'),
    },
  ],
}
