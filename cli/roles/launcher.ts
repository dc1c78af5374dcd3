// The launcher's process: root where the supervisor is, for it starts the programs of logins. Its trust lies in its own folder, which
// the agent cannot enter; its sockets in another, which the agent can.

import path from 'node:path'
import process from 'node:process'

import { loadConfig } from '../../control/config.ts'
import { systemClock } from '../../core/clock.ts'
import { Launcher } from '../launcher/launcher.ts'
import { uidOf } from '../supervisor/plan.ts'
import { runRole } from './bootstrap.ts'
import { KeptFile } from './kept-file.ts'
import { launcherFolder, roleFolder, roleLogger } from './settings.ts'

/** utmp(5). */
const LOGIN_FILES = { utmp: '/var/run/utmp', wtmp: '/var/log/wtmp' }

runRole('launcher', async ({ config: text, configFile }) => {
  const config = loadConfig(text, configFile)
  const log = roleLogger('launcher', text, configFile)
  const trustFile = new KeptFile(path.join(roleFolder(config, 'launcher'), 'trust.json'), log)
  const root = process.getuid?.() === 0
  const agentUid = root ? uidOf(config, 'agent') : (process.getuid?.() ?? 0)
  const launcher = new Launcher({
    folder: launcherFolder(config),
    agentUid,
    agentGid: root ? agentUid : (process.getgid?.() ?? 0),
    trustFile,
    clock: systemClock,
    log,
    ...(root ? { loginFiles: LOGIN_FILES } : {}),
  })
  await launcher.start()
  return {
    addresses: {},
    reload: async () => {},
    async drain() {
      await launcher.close()
      trustFile.close()
    },
  }
})
