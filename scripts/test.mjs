// `npm test`: every *.test.ts, each file in a process of its own; `--full` also the *.full.test.ts; with file names, those alone.
// Fails when a test fails, when a test is skipped, and when none ran. Installs or names the real programs that the tests use.
import { globSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { relative } from 'node:path'
import { run } from 'node:test'
import { spec } from 'node:test/reporters'
import { HYGIENE, root } from './node.mjs'
import { cellTables } from './cells.mjs'
import { provideOpenssh } from './openssh-clients.mjs'
import { provideClients } from './postgres-clients.mjs'
import { advice, provide } from './prerequisites.mjs'

const MINUTE = 60_000
const SLOW_FILE_MS = 5_000
/** How long no file may end: the runner's own limit is for each test, and no test runs in a file that does not come to its end. */
const STUCK_MS = 15 * MINUTE
const STUCK_LONG_MS = 5 * 60 * MINUTE

const args = process.argv.slice(2)
const full = args.includes('--full')
const named = args.filter((arg) => !arg.startsWith('--'))
const unknown = args.filter((arg) => arg.startsWith('--') && arg !== '--full')
if (unknown.length > 0) fail(`unknown option ${unknown.join(' ')}; there is --full`)

process.chdir(root)
const files = named.length > 0 ? named : all()
if (files.length === 0) fail('no test file found')
const long = files.some(isLong)
const lacking = provide({ full: long })
// Somebody who names files may well not need the programs; whoever asks for everything does.
if (lacking.length > 0 && named.length === 0) fail(advice(lacking))
if (lacking.length > 0) console.error(advice(lacking))
for (const reason of long ? unfetched() : []) fail(reason)

const totals = { tests: 0, passed: 0, bad: 0 }
const slow = []
const cells = []
await pass(
  files.filter((file) => !isWhole(file)),
  availableParallelism(),
  3 * MINUTE,
)
// Two at a time: each waits for its processes more than it computes. The long ones measure memory and move gigabytes, each alone.
await pass(
  files.filter((file) => isWhole(file) && !isLong(file)),
  2,
  6 * MINUTE,
)
await pass(files.filter(isLong), 1, 20 * MINUTE)

for (const line of cellTables(cells)) console.log(line)
for (const { file, ms } of slow.sort((a, b) => b.ms - a.ms))
  console.log(`slow: ${(ms / 1000).toFixed(1)} s  ${file}`)
if (totals.tests === 0) fail('no test ran')
console.log(`${totals.passed} passed, ${totals.bad} failed`)
// A program that a stuck file left behind may still hold its output open.
process.exit(totals.bad === 0 ? 0 : 1)

/** The tests of the whole start servers and measure deadlines: they do not share their cores with one test file for each. */
function isWhole(file) {
  return file.startsWith('test/e2e/')
}

function isLong(file) {
  return isWhole(file) && file.endsWith('.full.test.ts')
}

/** What the long tests among the files need from elsewhere and could not have, as sentences. */
function unfetched() {
  const ssh = files.some((file) => isLong(file) && file.includes('/ssh-'))
  const others = files.some((file) => isLong(file) && !file.includes('/ssh-'))
  const wheel = 'pip could not fetch what scripts/postgres-clients.txt names'
  const reasons = [others && !provideClients() && wheel, ssh && provideOpenssh()]
  return reasons.filter((reason) => typeof reason === 'string')
}

function all() {
  const exclude = ['node_modules/**', 'dist/**', 'bench/node_modules/**']
  const found = globSync('**/*.test.ts', { exclude }).sort()
  return full ? found : found.filter((file) => !file.endsWith('.full.test.ts'))
}

/** Runs the files and waits for the end of the report. */
async function pass(some, concurrency, timeout) {
  if (some.length === 0) return
  const ended = new Set()
  const giveUp = new AbortController()
  const stuck = () => {
    // Files are told of in their order.
    console.error(`test: no end of ${some.find((file) => !ended.has(file))}`)
    totals.bad++
    giveUp.abort()
  }
  const watch = setTimeout(stuck, some.some(isLong) ? STUCK_LONG_MS : STUCK_MS)
  const { signal } = giveUp
  // A relative name would be looked for from the place of this script by some versions of the runner.
  const stream = run({ files: some, concurrency, timeout, execArgv: HYGIENE, cwd: root, signal })
  stream.on('test:summary', (summary) => {
    if (summary.file !== undefined) ended.add(relative(root, summary.file))
    watch.refresh()
    count(summary)
  })
  stream.on('test:diagnostic', ({ message }) => cells.push(message))
  const report = stream.compose(new spec())
  report.pipe(process.stdout, { end: false })
  await new Promise((resolve, reject) => report.on('end', resolve).on('error', reject))
  clearTimeout(watch)
}

function count({ file, counts, duration_ms: ms }) {
  if (file !== undefined) {
    if (ms >= SLOW_FILE_MS) slow.push({ file: relative(root, file), ms })
    return
  }
  totals.tests += counts.tests
  totals.passed += counts.passed
  // A skipped test is a failed one: whoever reads "passed" must be able to trust it.
  totals.bad += counts.failed + counts.cancelled + counts.skipped + counts.todo
}

function fail(message) {
  console.error(`test: ${message}`)
  process.exit(1)
}
