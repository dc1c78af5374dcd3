// What README.md tells a newcomer to type and to write: commands with their options, and resources, are taken by the programs.

import { deepEqual, ok } from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { test } from 'node:test'

import { parse } from 'yaml'

import { TCTL } from '../cli/tctl/table.ts'
import { TSH } from '../cli/tsh/table.ts'
import { describeAll, type ProgramSpec } from '../cli/program.ts'
import { parseResource } from '../control/resources/resource.ts'

const README = readFileSync(join(import.meta.dirname, '../README.md'), 'utf8')

test('every command of tsh and tctl exists, and takes its options', async () => {
  const wrong = await Promise.all(typed().map(async (line) => await problem(line)))
  ok(typed().length > 20, `saw only ${typed().length} lines`)
  deepEqual(
    wrong.filter((each) => each !== undefined),
    [],
  )
})

test('a line that is wrong is found', async () => {
  for (const line of ['tsh db nothing', 'tctl nodes add --colour=red', 'tsh frobnicate'])
    ok((await problem(line)) !== undefined, line)
  deepEqual(await problem('tsh ssh deploy@web-1 ls --all'), undefined)
})

test('every resource is accepted', () => {
  const resources = blocks('yaml').map((text): unknown => parse(text))
  ok(resources.length >= 2)
  for (const resource of resources) parseResource(resource)
})

function blocks(language: string): readonly string[] {
  const found = README.matchAll(/^```(\w*)\n([\s\S]*?)^```$/gm)
  return [...found].flatMap(([, named, text = '']) => (named === language ? [text] : []))
}

/** What is typed, without what it explains behind `#`. */
function typed(): readonly string[] {
  const inBlocks = blocks('').flatMap((text) => text.split('\n'))
  const inText = [...README.replaceAll(/^```[\s\S]*?^```$/gm, '').matchAll(/`([^`]+)`/g)].map(
    ([, text = '']) => text,
  )
  return [...inBlocks, ...inText]
    .flatMap((line) => line.replace(/\s#.*/, '').split(/;|\s>>?\s/))
    .map((line) => line.trim().replace(/^npx /, ''))
    .filter((line) => /^(?:tsh|tctl) /.test(line))
}

async function problem(line: string): Promise<string | undefined> {
  const [program = '', ...words] = line.split(/\s+/)
  const spec: ProgramSpec = program === 'tsh' ? TSH : TCTL
  const rows = await describeAll(spec)
  const row = rows
    .filter((each) => words.slice(0, each.words.split(' ').length).join(' ') === each.words)
    .sort((a, b) => b.words.length - a.words.length)[0]
  if (row === undefined) return `${line}: no such command`
  const known = [...(row.spec.options ?? []), ...spec.options].flatMap(
    ({ flags }) => flags.match(/--?[\w-]+/g) ?? [],
  )
  const rest = words.slice(row.words.split(' ').length)
  // Behind the host a command of somebody else’s begins.
  const ours = row.foreignWords === true ? rest.slice(0, 1) : rest
  const unknown = ours.find(
    (word) => word.startsWith('-') && !known.includes(word.replace(/=.*/, '')),
  )
  return unknown === undefined ? undefined : `${line}: ${unknown}`
}
