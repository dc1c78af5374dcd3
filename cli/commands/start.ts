// `sluice start`: reads the configuration, runs the supervisor until a signal ends it.

import { readFileSync, statSync } from 'node:fs'
import path from 'node:path'
import process from 'node:process'

import { type ConfigFile, loadConfig } from '../../control/config.ts'
import type { Logger } from '../../core/log.ts'
import { CommandError, EXIT } from '../exit.ts'
import { createLogger } from '../logger.ts'
import { drainMs, logOptions } from '../roles/settings.ts'
import { planRoles } from '../supervisor/plan.ts'
import { type RoleFlags, Supervisor } from '../supervisor/supervisor.ts'

/** Resolves when the supervisor has stopped. `roleFlags`: Node flags of roles, from tests that move clocks; no command line sets them. */
export async function start(file: string, roleFlags?: RoleFlags): Promise<void> {
  const configFile = path.resolve(file)
  const text = readConfigFile(configFile)
  const config = loadConfig(text, configFile)
  const log = createLogger(logOptions(config, 'supervisor'))
  const supervisor = supervise(config, text, configFile, log, roleFlags)
  const stopped = stopOnSignal(supervisor, log)
  process.on('SIGHUP', () => reload(supervisor, configFile, log))
  try {
    const addresses = await supervisor.start()
    log.info('Sluice is up', addresses)
  } catch (error) {
    await supervisor.stop()
    throw error
  }
  await stopped
}

/** A supervisor for this configuration, not started. */
export function supervise(
  config: ConfigFile,
  text: string,
  configFile: string,
  log: Logger,
  roleFlags?: RoleFlags,
): Supervisor {
  const plans = planRoles(config, process.getuid?.() === 0)
  if (plans.length === 0)
    throw new CommandError(
      `${configFile} enables no service`,
      2,
      'Enable auth_service, proxy_service or db_service.',
    )
  const passphrase = passphraseOf(config)
  return new Supervisor({
    ...(passphrase === undefined ? {} : { passphrase }),
    plans,
    config: text,
    configFile,
    dataDir: config.sluice.data_dir,
    drainMs: drainMs(config),
    ...(roleFlags === undefined ? {} : { roleFlags }),
    log,
  })
}

/** Read here because it may be for root alone, and the roles are not root. Refused when others may read it. */
function passphraseOf(config: ConfigFile): Uint8Array | undefined {
  const { key_passphrase_file: file } = config.sluice
  if (file === undefined) return undefined
  try {
    if ((statSync(file).mode & 0o077) !== 0)
      throw new CommandError(`others may read ${file}`, EXIT.usage, `chmod 600 ${file}`)
    return readFileSync(file)
  } catch (error) {
    if (error instanceof CommandError) throw error
    const reason = error instanceof Error ? error.message : String(error)
    throw new CommandError(
      `cannot read the passphrase file: ${reason}`,
      EXIT.usage,
      `Make it: openssl rand -base64 32 > ${file}; chmod 600 ${file}`,
    )
  }
}

function stopOnSignal(supervisor: Supervisor, log: Logger): Promise<void> {
  return new Promise((resolve) => {
    let stopping = false
    const stop = (signal: NodeJS.Signals): void => {
      if (stopping) return
      stopping = true
      log.info('stopping', { signal })
      supervisor.stop().then(resolve, resolve)
    }
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
  })
}

/** A faulty file changes nothing: the roles go on with what they have. */
function reload(supervisor: Supervisor, configFile: string, log: Logger): void {
  try {
    const text = readConfigFile(configFile)
    loadConfig(text, configFile)
    supervisor.reload(text)
    log.info('configuration reloaded', { file: configFile })
  } catch (error) {
    log.error('configuration not reloaded', {
      error: error instanceof Error ? error.message : String(error),
    })
  }
}

function readConfigFile(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new CommandError(
      `cannot read ${file}: ${reason}`,
      2,
      '`sluice configure` writes one; `-c FILE` names another.',
    )
  }
}
