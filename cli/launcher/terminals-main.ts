// The process that holds terminals: its first argument is the socket's path. Runs under the agent's uid, started by the launcher,
// and ends with it.

import process from 'node:process'

import { serveLocal } from '../../workers/local-socket.ts'
import { endWithParent } from './parent.ts'
import { loadPtyAddon } from './pty-addon.ts'
import { Terminals } from './terminals.ts'

const [, , path = ''] = process.argv
process.umask(0o077)
const terminals = new Terminals(loadPtyAddon())
await serveLocal({
  path,
  connectionsMax: 'launchConnectionsMax',
  serve: (stream) => terminals.serve(stream),
  // A connection that breaks takes its terminal with it; there is nobody to tell.
  failed: () => {},
})
endWithParent()
