// Control's process: state, decisions about what is signed, the API. Local roles of this machine get their first join token here.

import { loadConfig } from '../../control/config.ts'
import { startControl } from '../../control/main.ts'
import { connectSigner } from '../../control/signer/client.ts'
import { systemClock } from '../../core/clock.ts'
import { ProxyError } from '../../core/errors.ts'
import { splitAddress } from '../supervisor/listeners.ts'
import { VERSION } from '../version.ts'
import { runRole } from './bootstrap.ts'
import { startDiagnostics } from './diagnostics.ts'
import { adminSocket, clusterName, roleFolder, roleLogger, signerSocket } from './settings.ts'

/** Services a process of this machine may join as. */
const SERVICES = { proxy: ['proxy'], agent: ['db', 'node'] } as const

runRole('control', async (start) => {
  const config = loadConfig(start.config, start.configFile)
  const log = roleLogger('control', start.config, start.configFile)
  const handle = start.listeners['api']
  if (handle === undefined)
    throw new ProxyError('config.invalid', 'the supervisor passed no API port')
  const control = await startControl({
    config,
    cluster: clusterName(config),
    version: VERSION,
    folder: roleFolder(config, 'control'),
    listen: { handle },
    adminSocket: adminSocket(config),
    ...(start.passphrase === undefined ? {} : { passphrase: start.passphrase }),
    signer: connectSigner(signerSocket(config)),
    clock: systemClock,
    log,
  })
  const diagnostics = await startDiagnostics(start.listeners, {
    role: 'control',
    ready: () => control.ready(),
    gauges: () => control.gauges(),
  })
  const { host } = splitAddress(config.auth_service.listen_addr)
  const address = `${host === '0.0.0.0' || host === '::' ? '127.0.0.1' : host}:${control.port}`
  return {
    addresses: { api: address, ...diagnostics.addresses },
    reload: (text) => control.reload(loadConfig(text, start.configFile)),
    async drain() {
      diagnostics.close()
      await control.drain()
    },
    async localToken(role) {
      const { token, pins } = await control.localToken(role, SERVICES[role])
      return { token, pins, controlAddress: address }
    },
  }
})
