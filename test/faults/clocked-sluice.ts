// `sluice start` for tests that move the clocks of roles: arguments are the configuration file and the folder of the clocks.
// It is the only caller that hands the supervisor flags for roles.

import process from 'node:process'

import { start } from '../../cli/commands/start.ts'
import { clockFlags } from './role-clocks.ts'

const [configFile = '', folder = ''] = process.argv.slice(2)
await start(configFile, (role) => clockFlags(folder, role))
