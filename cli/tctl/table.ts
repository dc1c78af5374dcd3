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
  groups: {},
  rows: [
    {
      words: 'version',
      summary: 'print the version',
      load: async () => (await import('../tsh/version.ts')).versionOf('tctl'),
    },
  ],
}
