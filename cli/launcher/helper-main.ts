// The helper of one login: its first argument is the socket's path. Started by the launcher as the login, and ends with it. It can do
// nothing that the login's own programs could not, and nothing it says is believed by the launcher.

import process from 'node:process'

import { serveLocal } from '../../workers/local-socket.ts'
import { Helper } from './login-helper.ts'
import { endWithParent } from './parent.ts'

const [, , path = ''] = process.argv
// Sockets and folders it makes are the login's alone.
process.umask(0o077)
const helper = new Helper()
await serveLocal({
  path,
  connectionsMax: 'helperSocketsMax',
  serve: (stream) => helper.serve(stream),
  // A connection that breaks takes what it opened with it; there is nobody to tell.
  failed: () => {},
})
endWithParent(() => helper.end())
