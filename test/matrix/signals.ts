// What comes on a connection of its own or from another session: Ctrl-C in an interactive psql, and notifications between two.

import { equal, match } from 'node:assert/strict'
import type { TestContext } from 'node:test'

import type { Program } from '../fixtures/processes.ts'
import { startProgram } from './clients.ts'
import { type Cell, mask, type Seat, type Way } from './seat.ts'

const CTRL_C = '\x03'
const ANSWER_MS = 15_000

export const CANCEL: Cell = {
  row: 'Ctrl-C',
  async run(seat, context) {
    // In turn, so that the server's list of statements shows one of them at a time.
    const direct = await interrupted(seat, seat.direct, context)
    const through = await interrupted(seat, seat.through, context)
    equal(through, direct)
    match(direct, /ERROR: {2}canceling statement due to user request/)
  },
}

/** Two statements are interrupted, one of them within a transaction; what psql said to that, and that the session went on. */
async function interrupted(seat: Seat, way: Way, context: TestContext): Promise<string> {
  // A terminal of its own: without one psql ends at Ctrl-C, and with one it is the terminal that turns the key into a signal.
  const quiet = [
    '-X',
    '-n',
    '-q',
    '-A',
    '-t',
    '-v',
    'PROMPT1=',
    '-v',
    'PROMPT2=',
    '-P',
    'pager=off',
  ]
  const command = ['psql', ...quiet, '-d', way.conninfo()]
  const terminal = await startTerminal(seat, command, context)
  const ask = async (sql: string, answer: RegExp): Promise<void> => {
    terminal.write(`${sql}\n`)
    await terminal.line(answer, ANSWER_MS)
  }
  await ask("SELECT 'pid' || pg_backend_pid();", /^pid\d+\s*$/)
  const pid = /^pid(\d+)\s*$/m.exec(terminal.output())?.[1] ?? ''
  terminal.write('SELECT pg_sleep(600);\n')
  await sleeping(seat, pid)
  terminal.write(CTRL_C)
  await ask("SELECT 'go' || 'es on';", /^goes on/)
  await ask("BEGIN; SELECT 'be' || 'gun';", /^begun/)
  terminal.write('SELECT count(*) FROM pg_sleep(600);\n')
  await sleeping(seat, pid)
  terminal.write(CTRL_C)
  await ask("SELECT 1; ROLLBACK; SELECT 'same' || pg_backend_pid();", new RegExp(`^same${pid}`))
  terminal.write('\\q\n')
  await terminal.exit
  const lines = terminal.output().split(/\r?\n/)
  return mask(
    lines.filter((line) => /^(ERROR|FATAL|could not|WARNING|Cancel)/.test(line)).join('\n'),
  )
}

async function startTerminal(
  seat: Seat,
  [program = '', ...args]: readonly string[],
  context: TestContext,
): Promise<Program> {
  const words = [`${seat.client.bin}/${program}`, ...args]
  const line = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(' ')
  const how = ['--quiet', '--return', '--echo', 'never', '--command', `exec ${line}`, '/dev/null']
  return await startProgram(context, seat.client, '/usr/bin/script', how)
}

/** Waits until the server runs the statement: a signal that comes earlier would meet an idle session. */
async function sleeping(seat: Seat, pid: string): Promise<void> {
  await seat.postgres.sql(`DO $$ BEGIN
    FOR i IN 1 .. 3000 LOOP
      PERFORM pg_stat_clear_snapshot();
      IF EXISTS (SELECT FROM pg_stat_activity WHERE pid = ${pid} AND wait_event = 'PgSleep') THEN RETURN; END IF;
      PERFORM pg_sleep(0.01);
    END LOOP;
    RAISE 'session ${pid} does not sleep';
  END $$`)
}

export const NOTIFY: Cell = {
  row: 'LISTEN and NOTIFY between sessions',
  async run(seat, context) {
    const direct = await notified(seat, seat.direct, context)
    const through = await notified(seat, seat.through, context)
    equal(through, direct)
    match(direct, /"events" with payload "ünïcode"/)
  },
}

/** One session listens, another of the same way tells it; what the first shows. */
async function notified(seat: Seat, way: Way, context: TestContext): Promise<string> {
  const args = ['-X', '-q', '-A', '-t', '-d', way.conninfo()]
  const listener = await startProgram(context, seat.client, 'psql', args)
  listener.write("LISTEN events; SELECT 'lis' || 'tening';\n")
  await listener.line(/^listening/)
  await way.sql("NOTIFY events; NOTIFY events, 'ünïcode'; NOTIFY other, 'unheard';")
  await way.sql("SELECT pg_notify('events', repeat('z', 7000))")
  listener.write("SELECT 'do' || 'ne';\n\\q\n")
  const { stdout, stderr, code } = await listener.exit
  equal(code, 0, stderr)
  return mask(stdout + stderr)
}
