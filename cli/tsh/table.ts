// The commands of `tsh`. A row's file is loaded when the command is typed; nothing here may import it outright.

import type { ProgramSpec } from '../program.ts'

export const TSH: ProgramSpec = {
  name: 'tsh',
  about: 'Log in to a Sluice cluster and reach what your roles allow',
  options: [
    { flags: '--proxy <host:port>', about: 'public address of the cluster (SLUICE_PROXY)' },
    { flags: '--user <name>', about: 'who to log in as (SLUICE_USER)' },
    { flags: '--no-relogin', about: 'fail when the login is over, also at a terminal' },
    { flags: '-d, --debug', about: 'say more about failures' },
  ],
  groups: {
    db: 'databases',
    proxy: 'ways in for other programs',
    recordings: 'recorded sessions',
  },
  rows: [
    {
      words: 'login',
      summary: 'log in, or complete an invite and log in',
      load: async () => (await import('./login.ts')).login,
    },
    {
      words: 'logout',
      summary: 'forget keys and certificates',
      load: async () => (await import('./logout.ts')).logout,
    },
    {
      words: 'status',
      summary: 'who is logged in where, and until when',
      load: async () => (await import('./status.ts')).status,
    },
    {
      words: 'ls',
      summary: 'list nodes',
      load: async () => (await import('./ls.ts')).ls,
    },
    {
      words: 'ssh',
      summary: 'a shell or a command on a node',
      foreignWords: true,
      load: async () => (await import('./ssh.ts')).ssh,
    },
    {
      words: 'scp',
      summary: 'copy files to and from a node',
      load: async () => (await import('./scp.ts')).scp,
    },
    {
      words: 'config',
      summary: 'print the configuration that OpenSSH needs to reach nodes',
      load: async () => (await import('./config.ts')).config,
    },
    {
      words: 'db ls',
      summary: 'list databases',
      load: async () => (await import('./db-ls.ts')).dbLs,
    },
    {
      words: 'db login',
      summary: 'get a certificate for a database and write its connection service',
      load: async () => (await import('./db-login.ts')).dbLogin,
    },
    {
      words: 'db logout',
      summary: 'remove certificate and connection service',
      load: async () => (await import('./db-login.ts')).dbLogout,
    },
    {
      words: 'db connect',
      summary: 'start psql on a database',
      load: async () => (await import('./db-connect.ts')).dbConnect,
    },
    {
      words: 'db env',
      summary: 'print environment variables for libpq',
      load: async () => (await import('./db-settings.ts')).dbEnv,
    },
    {
      words: 'db config',
      summary: 'print how to connect',
      load: async () => (await import('./db-settings.ts')).dbConfig,
    },
    {
      words: 'db exec',
      summary: 'run SQL without psql',
      load: async () => (await import('./db-exec.ts')).dbExec,
    },
    {
      words: 'proxy db',
      summary: 'a local port for a database',
      load: async () => (await import('./proxy-db.ts')).proxyDb,
    },
    {
      words: 'proxy ssh',
      summary: 'a node’s SSH on standard input and output, for OpenSSH',
      load: async () => (await import('./proxy-ssh.ts')).proxySsh,
    },
    {
      words: 'recordings ls',
      summary: 'list recorded sessions',
      load: async () => (await import('./recordings.ts')).recordingsLs,
    },
    {
      words: 'play',
      summary: 'replay a recorded session',
      load: async () => (await import('./play.ts')).play,
    },
    {
      words: 'completion',
      summary: 'print a completion script for a shell',
      load: async () => (await import('../completion.ts')).completionOf(TSH),
    },
    {
      words: 'version',
      summary: 'print the version',
      load: async () => (await import('./version.ts')).versionOf('tsh'),
    },
  ],
}
