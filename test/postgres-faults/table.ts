// What a PostgreSQL session does in each cell of the fault matrix. docs/faults.md holds the same table; a test compares them.

import type { Fault, Part, Table } from '../faults/matrix.ts'
import type { Scenario } from './scenarios.ts'

const UNIX_SOCKET =
  'control and signer speak over a unix socket of one machine: there is no network to fail, and a lost socket is a lost process'

export const TABLE: Table<Scenario> = {
  'kill -9': {
    control: 'goes on',
    signer: 'goes on',
    proxy: 'ends',
    agent: 'ends',
    target: 'ends',
  },
  SIGSTOP: {
    control: 'goes on',
    signer: 'goes on',
    proxy: 'goes on',
    agent: 'goes on',
    target: 'goes on',
  },
  cut: {
    control: 'goes on',
    signer: { none: UNIX_SOCKET },
    proxy: 'ends',
    agent: 'ends',
    target: 'ends',
  },
  'half-close': {
    control: 'goes on',
    signer: { none: UNIX_SOCKET },
    proxy: 'either',
    agent: 'either',
    target: 'either',
  },
  'disk full': {
    control: 'goes on',
    signer: 'goes on',
    proxy: 'goes on',
    agent: 'goes on',
    target: { idle: 'goes on', query: 'goes on', 'COPY in': 'ends', 'COPY out': 'goes on' },
  },
  'clock jump': {
    control: 'goes on',
    signer: 'goes on',
    proxy: 'goes on',
    agent: 'goes on',
    target: 'goes on',
  },
}

/** Whoever connects while the fault lasts. Refused means: told so in time. `either`: which of the two is a matter of moments. */
export const NEWCOMERS: Readonly<
  Record<Fault, Readonly<Record<Part, 'served' | 'refused' | 'either'>>>
> = {
  'kill -9': { control: 'served', signer: 'served', proxy: 'either', agent: 'either', target: 'either' },
  SIGSTOP: { control: 'served', signer: 'served', proxy: 'served', agent: 'served', target: 'served' },
  cut: { control: 'served', signer: 'served', proxy: 'served', agent: 'served', target: 'served' },
  'half-close': { control: 'served', signer: 'served', proxy: 'served', agent: 'served', target: 'served' },
  'disk full': { control: 'served', signer: 'served', proxy: 'served', agent: 'served', target: 'served' },
  'clock jump': { control: 'served', signer: 'served', proxy: 'refused', agent: 'refused', target: 'either' },
}
