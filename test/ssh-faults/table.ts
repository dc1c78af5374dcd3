// What becomes of a recorded terminal when a part fails in the middle of it: by who records, by the rule of the recording, by the fault.

export const PLACES = ['node', 'proxy'] as const
export type Place = (typeof PLACES)[number]

/** `sync` is a mode of the cluster; the others are `record_session.ssh` of a role, in the modes that are not. */
export const RULES = ['strict', 'best_effort', 'sync'] as const
export type Rule = (typeof RULES)[number]

export const FAULTS = [
  'disk full where it is recorded',
  'SIGSTOP of control',
  'kill -9 of control',
  'kill -9 of the agent',
  'kill -9 of the proxy',
] as const
export type Fault = (typeof FAULTS)[number]

/**
 * Of the session: it goes on, the person is told why it ends, it waits and goes on, or it is cut. Of the recording: it is whole, it has a
 * gap that counts what is missing, or it ends early and says so.
 */
export type Expected =
  | 'goes on, whole'
  | 'goes on, counted gap'
  | 'waits, whole'
  | 'ends and says why, counted gap'
  | 'cut, whole'
  | 'cut, tail lost and said'
  | 'cut, nothing shown is lost'

export interface Cell {
  readonly place: Place
  readonly rule: Rule
  readonly fault: Fault
  readonly expected: Expected
}

/** All of them, one cluster after the other. */
export const CELLS: readonly Cell[] = PLACES.flatMap((place) =>
  RULES.flatMap((rule) =>
    FAULTS.map((fault) => ({ place, rule, fault, expected: expectedOf(place, rule, fault) })),
  ),
)

function expectedOf(place: Place, rule: Rule, fault: Fault): Expected {
  switch (fault) {
    case 'disk full where it is recorded':
      if (rule === 'strict') return 'ends and says why, counted gap'
      return rule === 'sync' ? 'waits, whole' : 'goes on, counted gap'
    // What is recorded lies on the recorder's own disk until control has it.
    case 'SIGSTOP of control':
    case 'kill -9 of control':
      return 'goes on, whole'
    case 'kill -9 of the agent':
      return place === 'node' ? recorderKilled(rule) : 'cut, whole'
    case 'kill -9 of the proxy':
      return place === 'proxy' ? recorderKilled(rule) : 'cut, whole'
  }
}

function recorderKilled(rule: Rule): Expected {
  return rule === 'sync' ? 'cut, nothing shown is lost' : 'cut, tail lost and said'
}

export function titleOf({ place, rule, fault, expected }: Cell): string {
  return `${fault}, ${rule} at the ${place}: ${expected}`
}

/** Rows of Markdown for docs/faults.md. */
export function markdown(): string {
  const columns = PLACES.flatMap((place) => RULES.map((rule) => ({ place, rule })))
  const heads = columns.map(({ place, rule }) => `${place}, ${rule}`)
  const rows = FAULTS.map((fault) => {
    const words = columns.map(({ place, rule }) => expectedOf(place, rule, fault))
    return `| ${fault} | ${words.join(' | ')} |`
  })
  return [
    `| fault | ${heads.join(' | ')} |`,
    `|---|${heads.map(() => '---|').join('')}`,
    ...rows,
  ].join('\n')
}
