// The modes in which sessions are carried, and what makes a cluster carry them so. The matrices take them from here.

import type { ClusterOptions } from '../fixtures/cluster.ts'

export type Mode = 'relay' | 'terminate'

export const MODES: readonly Mode[] = ['relay', 'terminate']

/** Options of a cluster whose sessions are carried in this mode. */
export function carriedBy(mode: Mode): Pick<ClusterOptions, 'extra'> {
  switch (mode) {
    case 'relay':
      return {}
    case 'terminate':
      return { extra: { auth_service: ['session_recording: proxy'] } }
  }
}
