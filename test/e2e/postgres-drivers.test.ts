// One driver through `tsh proxy db`, with and without `--tunnel`, compared with a direct connection; all of them are in
// postgres-drivers.full.test.ts.

import { NODE_POSTGRES } from '../drivers/drivers.ts'
import { runDrivers } from '../matrix/drivers.ts'

runDrivers({
  matrix: 'PostgreSQL drivers, thin',
  modes: ['terminate'],
  drivers: [NODE_POSTGRES],
  servers: [15],
})
