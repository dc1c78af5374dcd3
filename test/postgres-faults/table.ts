// What a PostgreSQL session does in each cell of the fault matrix. docs/faults.md holds the same table; a test compares them.

import type { Fault, Part, Table } from '../faults/matrix.ts'
import type { Scenario } from './scenarios.ts'

const UNIX_SOCKET =
  'control and signer speak over a unix socket of one machine: there is no network to fail, and a lost socket is a lost process'

/** What the client asked for is answered to the last byte, as by a server that it dialled itself; what it had yet to say is not heard. */
const NO_MORE_FROM_CLIENT = {
  idle: 'ends',
  query: 'goes on',
  'COPY in': 'ends',
  'COPY out': 'goes on',
} as const

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
  'half-close towards the client': {
    control: 'goes on',
    signer: { none: UNIX_SOCKET },
    proxy: 'ends',
    agent: 'ends',
    target: 'ends',
  },
  'half-close towards the target': {
    control: 'goes on',
    signer: { none: UNIX_SOCKET },
    proxy: NO_MORE_FROM_CLIENT,
    agent: NO_MORE_FROM_CLIENT,
    target: NO_MORE_FROM_CLIENT,
  },
  'disk full': {
    control: 'goes on',
    signer: 'goes on',
    proxy: 'goes on',
    agent: 'goes on',
    target: { idle: 'goes on', query: 'goes on', 'COPY in': 'ends', 'COPY out': 'goes on' },
  },
  'clock forward': {
    control: 'goes on',
    signer: 'goes on',
    proxy: 'goes on',
    agent: 'goes on',
    target: 'goes on',
  },
  'clock back': {
    control: 'goes on',
    signer: 'goes on',
    proxy: 'goes on',
    agent: 'goes on',
    target: 'goes on',
  },
}

const ALL_SERVED = {
  control: 'served',
  signer: 'served',
  proxy: 'served',
  agent: 'served',
  target: 'served',
} as const

/** Whoever connects while the fault lasts. Refused means: told so in time. `either`: which of the two is a matter of moments. */
export const NEWCOMERS: Readonly<
  Record<Fault, Readonly<Record<Part, 'served' | 'refused' | 'either'>>>
> = {
  'kill -9': { ...ALL_SERVED, proxy: 'either', agent: 'either', target: 'either' },
  SIGSTOP: ALL_SERVED,
  cut: ALL_SERVED,
  'half-close towards the client': ALL_SERVED,
  'half-close towards the target': ALL_SERVED,
  'disk full': ALL_SERVED,
  'clock forward': { ...ALL_SERVED, proxy: 'refused', agent: 'refused' },
  'clock back': { ...ALL_SERVED, proxy: 'refused', agent: 'refused', target: 'refused' },
}
