// The shape of a fault matrix: faults × parts of the system × what a session is doing. Each cell has an expected outcome, or a
// reason why there is no such cell; a protocol brings the table, this file unfolds it. Pure.

export const FAULTS = [
  'kill -9',
  'SIGSTOP',
  'cut',
  'half-close towards the client',
  'half-close towards the target',
  'disk full',
  'clock forward',
  'clock back',
] as const
export type Fault = (typeof FAULTS)[number]

export const PARTS = ['control', 'signer', 'proxy', 'agent', 'target'] as const
export type Part = (typeof PARTS)[number]

/** `goes on`: every byte is right and nobody is told. `ends`: the client is told. `either`: one of the two; never anything else. */
export type Expected = 'goes on' | 'ends' | 'either'

export type Expectation<Scenario extends string> =
  | Expected
  | Readonly<Record<Scenario, Expected>>
  | { readonly none: string }

export type Table<Scenario extends string> = Readonly<
  Record<Fault, Readonly<Record<Part, Expectation<Scenario>>>>
>

export interface Cell<Scenario extends string> {
  readonly fault: Fault
  readonly part: Part
  readonly scenario: Scenario
  readonly expected: Expected
}

/** Every cell that exists, so that neighbours strike different parts: what was struck has time to recover. */
export function cellsOf<Scenario extends string>(
  table: Table<Scenario>,
  scenarios: readonly Scenario[],
): readonly Cell<Scenario>[] {
  return FAULTS.flatMap((fault) =>
    scenarios.flatMap((scenario) =>
      PARTS.flatMap((part) => {
        const expected = expectedOf(table[fault][part], scenario)
        return expected === undefined ? [] : [{ fault, part, scenario, expected }]
      }),
    ),
  )
}

/** Cells that do not exist, each with its reason. */
export function absencesOf<Scenario extends string>(
  table: Table<Scenario>,
): readonly { readonly fault: Fault; readonly part: Part; readonly reason: string }[] {
  return FAULTS.flatMap((fault) =>
    PARTS.flatMap((part) => {
      const row = table[fault][part]
      return typeof row === 'object' && 'none' in row ? [{ fault, part, reason: row.none }] : []
    }),
  )
}

/** The table as rows of Markdown: one row for each fault and part. */
export function markdownOf<Scenario extends string>(
  table: Table<Scenario>,
  scenarios: readonly Scenario[],
): string {
  const rows = FAULTS.flatMap((fault) =>
    PARTS.map((part) => {
      const words = scenarios.map((scenario) => expectedOf(table[fault][part], scenario) ?? '–')
      return `| ${fault} | ${part} | ${words.join(' | ')} |`
    }),
  )
  return [
    `| fault | part | ${scenarios.join(' | ')} |`,
    `|---|---|${scenarios.map(() => '---|').join('')}`,
    ...rows,
  ].join('\n')
}

export function titleOf({ fault, part, scenario, expected }: Cell<string>): string {
  return `${fault}, ${part}, ${scenario}: ${expected}`
}

function expectedOf<Scenario extends string>(
  row: Expectation<Scenario>,
  scenario: Scenario,
): Expected | undefined {
  if (typeof row === 'string') return row
  return 'none' in row ? undefined : row[scenario]
}
