// The rules that test/tidy.test.ts holds the checkout to: layers, sizes, words, names, links (CONTRIBUTING.md says why).
// Each rule is a function from one file to sentences about it; it reads the text as text and never runs it.

import { dirname, posix } from 'node:path'

export interface Source {
  /** Relative to the top of the checkout, with slashes. */
  readonly path: string
  readonly text: string
}

export interface Checkout {
  readonly files: readonly Source[]
  /** Where the checkout is on this machine; must not stand in it. */
  readonly root: string
  /** Package registries in use on this machine and the well-known ones. */
  readonly hosts: readonly string[]
}

export type Rule = (file: Source, checkout: Checkout) => readonly string[]

export const FILE_LINES_MAX = 400
export const TEST_FILE_LINES_MAX = 600
export const FUNCTION_LINES_MAX = 60

const isCode = (path: string): boolean => /\.(ts|mjs)$/.test(path)
/** Tests, and what stands beside them for them alone. */
const isTest = (path: string): boolean => /\.(test|suite|fixture|child)\.ts$/.test(path)
/** The rules' own words and planted breaches. */
const isTidy = (path: string): boolean => /^test\/tidy(\.test)?\.ts$/.test(path)

/** Lines of a text, without the empty one behind the last newline. */
function linesOf(text: string): string[] {
  return text.replace(/\n$/, '').split('\n')
}

// Layers

interface Layer {
  readonly ours: RegExp
  readonly node: RegExp
  readonly packages: readonly string[]
}

const PURE_NODE = /^(crypto|zlib|buffer)$/
const ANY = /./

/** Who may import what: the first row whose path matches. A path without a row may import nothing. */
const LAYERS: readonly (readonly [path: RegExp, may: Layer])[] = [
  [/^(test|bench)\//, { ours: ANY, node: ANY, packages: ['*'] }],
  [/^core\//, { ours: /^core\//, node: PURE_NODE, packages: ['msgpackr'] }],
  [/^protocols\/registry\.ts$/, { ours: /^(core|protocols)\//, node: PURE_NODE, packages: [] }],
  // The engines that carry these two protocols own sockets and streams by themselves.
  // ssh2 is loaded through node:module by its door alone (rule `ssh2`).
  [
    /^protocols\/ssh\//,
    {
      ours: /^core\/|^protocols\/ssh\//,
      node: /^(crypto|module|net|tls|fs|stream)$/,
      packages: [],
    },
  ],
  [
    /^protocols\/(kubernetes|app)\//,
    {
      ours: /^core\/|^protocols\/(kubernetes|app)\//,
      node: /^(crypto|http|http2|stream)$/,
      packages: [],
    },
  ],
  [/^protocols\//, { ours: /^core\/|^SAME\//, node: PURE_NODE, packages: [] }],
  [
    /^workers\//,
    { ours: /^(core|workers)\/|^protocols\/registry\.ts$/, node: ANY, packages: ['*'] },
  ],
  [/^control\/web\//, { ours: /^control\/(web\/|api\/schema\.ts$)/, node: /^$/, packages: [] }],
  [/^control\//, { ours: /^(core|control)\//, node: ANY, packages: ['*'] }],
  // `tsh` is itself a client of one protocol; its door there is one file, and what lies behind it stays pure.
  [
    /^cli\//,
    {
      ours: /^(core|control|workers|cli)\/|^protocols\/ssh\/client\.ts$/,
      node: ANY,
      packages: ['*'],
    },
  ],
  [/^scripts\//, { ours: /^scripts\//, node: ANY, packages: [] }],
]

const IMPORT =
  /^\s*(?:import|export)\s+(?:[^'"]*?\sfrom\s+)?(['"])([^'"\n]+)\1|\bimport\(\s*(['"])([^'"\n]+)\3\s*\)/gm

/** Every module a file names, static or not. */
function importsOf(text: string): string[] {
  return [...text.matchAll(IMPORT)].map((found) => found[2] ?? found[4] ?? '')
}

function layers({ path, text }: Source): string[] {
  if (!isCode(path) || isTest(path)) return []
  const may = LAYERS.find(([pattern]) => pattern.test(path))?.[1]
  const names = importsOf(text)
  if (may === undefined) return names.length > 0 ? [`is in no layer, so it may import nothing`] : []
  return names.filter((name) => !allowed(may, path, name)).map((name) => `may not import ${name}`)
}

function allowed(may: Layer, path: string, name: string): boolean {
  if (name.startsWith('node:')) return may.node.test(name.slice('node:'.length).split('/')[0] ?? '')
  if (!name.startsWith('.')) return may.packages.includes('*') || may.packages.includes(name)
  const target = posix.join(dirname(path), name)
  if (/^(test|bench)\//.test(target)) return /^(test|bench)\//.test(path)
  const folder = path.split('/').slice(0, 2).join('/')
  return may.ours.test(target) || may.ours.test(target.replace(`${folder}/`, 'SAME/'))
}

function webTypesOnly({ path, text }: Source): string[] {
  if (!path.startsWith('control/web/')) return []
  const values = /^import (?!type\b)[^'"]*['"][^'"]*api\/schema\.ts['"]/m
  return values.test(text) ? ['may import types only from control/api/schema.ts'] : []
}

function testsOfOthers({ path, text }: Source): string[] {
  if (!isTest(path)) return []
  return importsOf(text)
    .filter((name) => name.endsWith('.test.ts'))
    .map((name) => `imports a test, ${name}; what two tests share belongs in test/fixtures`)
}

function relativeEndings({ path, text }: Source): string[] {
  if (!path.endsWith('.ts')) return []
  return importsOf(text)
    .filter((name) => name.startsWith('.') && !/\.(ts|mjs|json)$/.test(name))
    .map((name) => `imports ${name} without the .ts ending`)
}

/** A file named by a string is found by the release only in this one form (scripts/release.mjs). */
function fileNames({ path, text }: Source): string[] {
  if (!path.endsWith('.ts') || /^(test|bench)\//.test(path) || isTest(path)) return []
  const rest = text
    .replace(IMPORT, '')
    .replace(/new URL\(\s*(['"])\.[^'"\n]+\.ts\1,\s*import\.meta\.url,?\s*\)/g, '')
    // The file itself knows whether it was emitted.
    .replace(/^.*import\.meta\.url\.endsWith\('\.ts'\).*$/gm, '')
    .replace(/^\s*(\/\/|\*).*$/gm, '')
  return [...rest.matchAll(/(['"`])(\.{1,2}\/[^'"`\n]+\.ts)\1/g)].map(
    (found) => `names ${found[2] ?? ''} otherwise than by new URL('…', import.meta.url)`,
  )
}

/** Its private names are known in one place, however it is loaded; beside it, some other version could be loaded first. */
function ssh2({ path, text }: Source): string[] {
  if (!isCode(path) || isTidy(path) || path === 'protocols/ssh/transport/ssh2.ts') return []
  return /['"`]ssh2(\/[^'"`]*)?['"`]/.test(text) ? ['may not load ssh2'] : []
}

// Sizes

function fileLength({ path, text }: Source): string[] {
  // A table of rows, which the formatter spreads over six lines each; splitting it would hide what it is for.
  if (!isCode(path) || path === 'core/limits.ts') return []
  const lines = linesOf(text).length
  const most = isTest(path) ? TEST_FILE_LINES_MAX : FILE_LINES_MAX
  return lines > most ? [`has ${lines} lines, over ${most}`] : []
}

const HEADER = [
  /\bfunction\b.*\{$/,
  /=> \{$/,
  /^\s+(?:(?:static|async|override|get|set|private|public|protected) )*\*?#?[\w$]+(?:<.*>)?\(.*\)(?:: .+)? \{$/,
]
/** The last line of a header that is written over several. */
const HEADER_END = /^\s*\}?\)(?:: .+)?(?: =>)? \{$/
const NOT_A_FUNCTION = /^\s*(?:\} )?(?:if|for|while|switch|catch|else|do|try|with)\b/
/** These hold tests, as a class holds methods. */
const HOLDER = /\b(?:describe|suite)\(/

function functionLength({ path, text }: Source): string[] {
  if (!isCode(path)) return []
  const lines = linesOf(text)
  const found: string[] = []
  lines.forEach((line, index) => {
    const begin = beginOf(lines, index)
    const header = lines[begin] ?? ''
    if (begin < 0 || NOT_A_FUNCTION.test(header) || HOLDER.test(header)) return
    const end = lines.findIndex((other, at) => at > index && closes(line, other))
    const count = end - begin + 1
    if (count > FUNCTION_LINES_MAX)
      found.push(`line ${begin + 1}: a function of ${count} lines, over ${FUNCTION_LINES_MAX}`)
  })
  return found
}

/** The index of the line where the function whose header ends at `index` begins; −1 when none ends there. */
function beginOf(lines: readonly string[], index: number): number {
  const line = lines[index] ?? ''
  if (!HEADER_END.test(line)) return HEADER.some((form) => form.test(line)) ? index : -1
  for (let at = index - 1; at >= 0; at--)
    if (indent(lines[at] ?? '') === indent(line) && lines[at] !== '') return at
  return -1
}

/** The formatter puts the closing brace under the first column of the line that opened it. */
function closes(opening: string, line: string): boolean {
  return indent(line) === indent(opening) && line.trimStart().startsWith('}')
}

function indent(line: string): number {
  return line.length - line.trimStart().length
}

// Words

interface Word {
  readonly pattern: RegExp
  readonly instead: string
  readonly where: (path: string) => boolean
}

const production = (path: string): boolean =>
  isCode(path) && !isTest(path) && !/^(test|bench)\//.test(path)
const everywhere = (path: string): boolean => isCode(path) || path.endsWith('.md')

const WORDS: readonly Word[] = [
  { pattern: /\b(TODO|FIXME|XXX)\b/, instead: 'do it, or say so in an issue', where: everywhere },
  { pattern: /\bas any\b/, instead: 'decode it', where: isCode },
  { pattern: /@ts-(ignore|expect-error|nocheck)/, instead: 'mend the type', where: isCode },
  { pattern: /\.(only|skip|todo)\(/, instead: 'every test runs', where: isTest },
  { pattern: /\{ (only|skip|todo):/, instead: 'every test runs', where: isTest },
  {
    pattern: /new (?:tls\.)?TLSSocket\([^;]*?isServer/s,
    instead: 'tls.Server; it lets strangers in (design 3)',
    where: isCode,
  },
  { pattern: /\b(pkill|killall)\b/, instead: 'end a process by its pid', where: isCode },
  { pattern: /\bMath\.random\b/, instead: 'node:crypto', where: production },
  {
    pattern: /timers\/promises|setTimeout\((resolve|ok|done|r),/,
    instead: 'wait for an event, or a fake clock; never sleep',
    where: (path) => isTest(path) && !path.startsWith('test/e2e/'),
  },
  { pattern: /^export default\b/m, instead: 'name what you export', where: isCode },
  { pattern: /^export \*/m, instead: 'name what you export', where: isCode },
  { pattern: /^(export )?(const )?enum /m, instead: 'an `as const` object', where: isCode },
]

function words({ path, text }: Source): string[] {
  if (isTidy(path)) return []
  return WORDS.filter((word) => word.where(path)).flatMap((word) => {
    const found = word.pattern.exec(text)
    if (found === null) return []
    return [
      `line ${lineAt(text, found.index)}: "${found[0].slice(0, 40)}"; instead: ${word.instead}`,
    ]
  })
}

function machine({ path, text }: Source, { root, hosts }: Checkout): string[] {
  if (path === 'package-lock.json' || isTidy(path)) return []
  const paths = [root, ...(/(?<![\w.$}])\/(?:work|root)\/\w+/.exec(text) ?? [])]
  return [...paths, ...hosts]
    .filter((word) => word !== '' && text.includes(word))
    .map((word) => `line ${lineAt(text, text.indexOf(word))}: "${word}" is of one machine`)
}

function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length
}

// Names, openings, links

function opening({ path, text }: Source): string[] {
  // A test beside its file is opened by its name.
  if (!isCode(path) || isTest(path)) return []
  const first = text.replace(/^#!.*\n/, '')
  return /^(\/\/|\/\*)/.test(first) ? [] : ['does not open with a comment that says what it is']
}

const VAGUE = /^(utils?|helpers?|common|misc|stuff|shared)$/

function fileName({ path }: Source): string[] {
  if (!isCode(path)) return []
  const base = posix
    .basename(path)
    .replace(/(\.(test|suite|bench|fuzz|full|child|fixture))*\.(ts|mjs)$/, '')
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(base)) return ['is not lower-case words with hyphens']
  if (VAGUE.test(base)) return ['has a name that says nothing; name the concept']
  if (/^(issue|bug|test|route)?-?\d+$/.test(base)) return ['has a number for a name']
  return []
}

function links({ path, text }: Source, { files }: Checkout): string[] {
  if (!path.endsWith('.md')) return []
  const prose = text.replace(/^```[\s\S]*?^```/gm, '')
  return [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
    .map((found) => (found[1] ?? '').split('#')[0] ?? '')
    .filter((target) => target !== '' && !/^[a-z]+:/.test(target))
    .map((target) => posix.join(dirname(path), target).replace(/\/$/, ''))
    .filter((target) => !files.some(({ path: p }) => p === target || p.startsWith(`${target}/`)))
    .map((target) => `links to ${target}, which is not there`)
}

/** Every rule by name; the test plants a breach of each. */
export const RULES: ReadonlyMap<string, Rule> = new Map<string, Rule>(
  Object.entries({
    layers,
    webTypesOnly,
    testsOfOthers,
    relativeEndings,
    fileNames,
    ssh2,
    fileLength,
    functionLength,
    words,
    machine,
    opening,
    fileName,
    links,
  }),
)

/** Every breach of a checkout as a sentence: path, rule, what. */
export function breaches(checkout: Checkout, names: readonly string[]): string[] {
  return checkout.files.flatMap((file) =>
    names.flatMap((name) => {
      const rule = RULES.get(name)
      if (rule === undefined) throw new Error(`no rule ${name}`)
      return rule(file, checkout).map((what) => `${file.path}: ${what} (${name})`)
    }),
  )
}
