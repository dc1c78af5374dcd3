// Documents that must equal the code: docs/errors.md and docs/limits.md are written from their tables by `UPDATE=1 npm test
// test/docs.test.ts`, and every command and path that a document names exists.

import { deepEqual, equal, ok } from 'node:assert/strict'
import { existsSync, globSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'
import { ERROR_CODES } from '../core/errors.ts'
import { LIMITS, type Limit } from '../core/limits.ts'

const ROOT = join(import.meta.dirname, '..')
const UPDATE = process.env['UPDATE'] === '1'

const documents = globSync(['*.md', 'docs/**/*.md', 'protocols/**/*.md'], { cwd: ROOT }).sort()

test('docs/errors.md is the table of core/errors.ts', () => {
  equal(document('docs/errors.md', errors(ERROR_CODES)), errors(ERROR_CODES))
})

test('docs/limits.md is the table of core/limits.ts', () => {
  equal(document('docs/limits.md', limits(LIMITS)), limits(LIMITS))
})

test('error codes are sorted, and a limit says its unit in its name and its reason in a sentence', () => {
  const codes = Object.keys(ERROR_CODES)
  deepEqual(codes, [...codes].sort())
  const rows: [string, Limit][] = Object.entries(LIMITS)
  deepEqual(
    rows.filter(([name, { unit }]) => !unitFits(name, unit)).map(([name]) => name),
    [],
  )
  deepEqual(
    rows.filter(([, row]) => !row.reason.endsWith('.') || row.value < 0).map(([name]) => name),
    [],
  )
})

test('every command that a document names exists', () => {
  const found = documents.flatMap((path) => commands(path, text(path)))
  ok(found.length > 5, `saw only ${found.length} commands in ${documents.length} documents`)
  deepEqual(
    found.filter(({ command }) => !exists(command)),
    [],
  )
})

test('every path that a document names exists', () => {
  // A decision record tells what was so when it was written.
  const living = documents.filter((path) => !path.startsWith('docs/decisions/'))
  const named = living.flatMap((path) => paths(text(path)).map((name) => `${path}: ${name}`))
  ok(named.length > 10, `saw only ${named.length} paths`)
  deepEqual(
    named.filter((line) => !existsSync(join(ROOT, line.split(': ')[1] ?? ''))),
    [],
  )
})

test('what is checked here is found when it is wrong', () => {
  const [row] = limits({ aBytesMax: { value: 2048, unit: 'bytes', reason: 'Two.' } })
    .split('\n')
    .filter((line) => line.includes('aBytesMax'))
  equal(row, '| `aBytesMax` | 2 KB | Two. |')
  equal(unitFits('aMs', 'bytes'), false)
  const [npm, npx, script] = commands(
    'a.md',
    '`npm run nothing`, `npx nothing`, node scripts/no.mjs',
  )
  for (const command of [npm, npx, script]) equal(exists(command?.command ?? ''), false)
  deepEqual(paths('`core/nothing.ts` and `core/` and `protocols/<name>/wire.ts`'), [
    'core/nothing.ts',
    'core/',
  ])
})

/** The document as it stands; with UPDATE=1, after it was written. */
function document(path: string, wanted: string): string {
  if (UPDATE) writeFileSync(join(ROOT, path), wanted)
  return text(path)
}

function text(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

const HOW = 'A test writes this page (`UPDATE=1 npm test test/docs.test.ts`); do not edit it.'

function errors(table: Readonly<Record<string, string>>): string {
  const rows = Object.entries(table).map(([code, meaning]) => `| \`${code}\` | ${meaning} |`)
  return `# Error codes

Match on the code, never on the text: the code is stable, and a retired one is never used again. The part before the dot names what
failed. ${HOW}

| code | meaning |
|---|---|
${rows.join('\n')}
`
}

function limits(table: Readonly<Record<string, Limit>>): string {
  const rows = Object.entries(table).map(
    ([name, { value, unit, reason }]) => `| \`${name}\` | ${amount(value, unit)} | ${reason} |`,
  )
  return `# Limits

Every bound in the system, from \`core/limits.ts\`. A number that bounds something and stands elsewhere is a defect. ${HOW}

| name | limit | reason |
|---|---|---|
${rows.join('\n')}
`
}

function amount(value: number, unit: Limit['unit']): string {
  switch (unit) {
    case 'bytes':
      return inUnits(value, [
        [1024 * 1024, 'MB'],
        [1024, 'KB'],
        [1, 'bytes'],
      ])
    case 'ms':
      return inUnits(value, [
        [86_400_000, 'd'],
        [3_600_000, 'h'],
        [60_000, 'min'],
        [1000, 's'],
        [1, 'ms'],
      ])
    case 'per-minute':
      return `${grouped(value)} per minute`
    case 'count':
    case 'depth':
      return grouped(value)
  }
}

/** In the largest unit that divides it. */
function inUnits(value: number, units: readonly (readonly [number, string])[]): string {
  const unit = units.find(([size]) => value > 0 && value % size === 0)
  return unit ? `${grouped(value / unit[0])} ${unit[1]}` : grouped(value)
}

function grouped(value: number): string {
  return value.toLocaleString('en')
}

/** Units last in names: `…Ms` for milliseconds, `…Bytes…` for bytes, neither for others. */
function unitFits(name: string, unit: Limit['unit']): boolean {
  const ms = /Ms(Max|Min)?$/.test(name)
  const bytes = /Bytes|FrameBytes/.test(name)
  return ms === (unit === 'ms') && bytes === (unit === 'bytes')
}

const COMMAND =
  /\bnpm (?:run (?:--\S+ )*[\w:]+|test\b)|\bnpx (?:--\S+ )*[\w-]+|\bnode scripts\/[\w-]+\.mjs/g

function commands(path: string, content: string): { path: string; command: string }[] {
  return [...content.matchAll(COMMAND)].map(([command]) => ({ path, command }))
}

interface Manifest {
  readonly scripts: Readonly<Record<string, string>>
  readonly bin: Readonly<Record<string, string>>
}

function exists(command: string): boolean {
  const { scripts, bin } = manifest()
  const name = command.split(' ').at(-1) ?? ''
  if (command.startsWith('node ')) return existsSync(join(ROOT, name))
  if (command.startsWith('npx ')) return name in bin
  return name in scripts
}

function manifest(): Manifest {
  const parsed: unknown = JSON.parse(text('package.json'))
  return { scripts: section(parsed, 'scripts'), bin: section(parsed, 'bin') }
}

function section(parsed: unknown, name: string): Readonly<Record<string, string>> {
  if (typeof parsed !== 'object' || parsed === null) throw new Error('package.json is no object')
  const value: unknown = Object.getOwnPropertyDescriptor(parsed, name)?.value
  if (typeof value !== 'object' || value === null) throw new Error(`package.json has no ${name}`)
  return Object.fromEntries(Object.entries(value).map(([key, row]) => [key, String(row)]))
}

/** Paths of ours in backticks, without those that hold a placeholder. */
function paths(content: string): string[] {
  const tops = 'core|protocols|workers|control|cli|scripts|test|bench|docs'
  const pattern = new RegExp(`\`((?:${tops})/[\\w./-]*)\``, 'g')
  return [...content.matchAll(pattern)].map((found) => found[1] ?? '')
}
