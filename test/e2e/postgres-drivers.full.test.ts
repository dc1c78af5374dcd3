// Drivers of programs through `tsh proxy db`, with and without `--tunnel`, compared with a direct connection. Part of
// `npm run test:full`.

import { DRIVERS } from '../drivers/drivers.ts'
import { runDrivers } from '../matrix/drivers.ts'
import { MODES } from '../matrix/modes.ts'

runDrivers({
  matrix: 'PostgreSQL drivers',
  modes: MODES,
  drivers: DRIVERS,
  servers: [15, 18],
})
