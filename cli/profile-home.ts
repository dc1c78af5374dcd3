// Where logins are kept: SLUICE_HOME, TELEPORT_HOME, else ~/.tsh.

import os from 'node:os'
import path from 'node:path'

export function profileHome(
  env: Readonly<Record<string, string | undefined>> = process.env,
): string {
  return env['SLUICE_HOME'] ?? env['TELEPORT_HOME'] ?? path.join(os.homedir(), '.tsh')
}
