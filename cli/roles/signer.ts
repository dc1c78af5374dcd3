// The signer's process: reads its keys, listens for control on a unix socket, signs what its templates allow.

import { chmodSync } from 'node:fs'

import { loadConfig } from '../../control/config.ts'
import { startSigner } from '../../control/signer/main.ts'
import { runRole } from './bootstrap.ts'
import { clusterName, roleFolder, roleLogger, signerSocket } from './settings.ts'

/** Group may write: the folder's set-group-ID bit made that control's group. */
const SOCKET_MODE = 0o660

runRole('signer', async ({ config: text, configFile, passphrase }) => {
  const config = loadConfig(text, configFile)
  const { insecure_keys: insecureKeys, key_passphrase_file: passphraseFile } = config.sluice
  const socketPath = signerSocket(config)
  const handle = await startSigner({
    folder: roleFolder(config, 'signer'),
    cluster: clusterName(config),
    insecureKeys,
    ...(passphraseFile === undefined ? {} : { passphraseFile }),
    ...(passphrase === undefined ? {} : { passphrase }),
    socketPath,
    log: roleLogger('signer', text, configFile),
  })
  chmodSync(socketPath, SOCKET_MODE)
  return { addresses: {}, reload: async () => {}, drain: () => handle.close() }
})
