// Events of a recording as lines: a database's timeline for people, JSON and YAML for programs, asciicast version 2 for players of
// terminals. What a session said is shown, never obeyed: control characters are replaced, terminal output goes through the filter.

import type { RecordingEvent } from '../../core/recording/events.ts'
import type { RecordingHeader } from '../../core/recording/format.ts'
import { TerminalFilter } from '../../core/recording/terminal-filter.ts'
import { printable, timeText } from '../render.ts'

type Statement = Extract<RecordingEvent, { kind: 'statement' }>

/** Makes text of one event after the other. */
export interface Writer {
  event(event: RecordingEvent, header: RecordingHeader): string
}

const TELLING = [
  'user',
  'db_service',
  'db_user',
  'db_name',
  'login',
  'server_hostname',
  'addr.remote',
]

/** Readable: statements one per line, what a terminal showed as it was. */
export class TextWriter implements Writer {
  readonly #filter = new TerminalFilter()
  readonly #decoder = new TextDecoder()

  event(event: RecordingEvent): string {
    switch (event.kind) {
      case 'start': {
        const told = TELLING.flatMap((name) => {
          const value = event.fields[name]
          return typeof value === 'string' && value !== '' ? [`${name}=${oneLine(value)}`] : []
        })
        return `${timeText(event.atMs)}  session begins: ${told.join(' ')}\n`
      }
      case 'statement':
        return statementText(event)
      case 'print':
        return this.#decoder.decode(this.#filter.push(event.bytes), { stream: true })
      case 'resize':
        return ''
      case 'gap':
        return `${clockText(event.atMs)}  ${event.lost} events were lost here: the recorder could not keep them\n`
      case 'end':
        return `${timeText(event.atMs)}  session ends: ${oneLine(event.reason)}\n`
    }
  }
}

/** One object per line. */
export class JsonWriter implements Writer {
  event(event: RecordingEvent): string {
    return `${JSON.stringify(plain(event))}\n`
  }
}

/** A list of the same objects. `stringify` is loaded by who asks for it. */
export class YamlWriter implements Writer {
  readonly #stringify: (value: unknown) => string

  constructor(stringify: (value: unknown) => string) {
    this.#stringify = stringify
  }

  event(event: RecordingEvent): string {
    return this.#stringify([plain(event)])
  }
}

const COLUMNS = 80
const ROWS = 24

/** asciicast version 2: a head, then a line for each piece of output. */
export class CastWriter implements Writer {
  readonly #filter = new TerminalFilter()
  readonly #decoder = new TextDecoder()
  #begun = false

  event(event: RecordingEvent, header: RecordingHeader): string {
    const head = this.#head(event, header)
    const seconds = Math.max(0, event.atMs - header.startedAtMs) / 1000
    if (event.kind === 'print') {
      const text = this.#decoder.decode(this.#filter.push(event.bytes), { stream: true })
      return `${head}${JSON.stringify([seconds, 'o', text])}\n`
    }
    if (event.kind !== 'resize') return head
    return `${head}${JSON.stringify([seconds, 'r', `${event.columns}x${event.rows}`])}\n`
  }

  /** The size a terminal begins with is that of its first resize. */
  #head(event: RecordingEvent, { startedAtMs }: RecordingHeader): string {
    if (this.#begun || (event.kind !== 'print' && event.kind !== 'resize')) return ''
    this.#begun = true
    const size = event.kind === 'resize' ? event : { columns: COLUMNS, rows: ROWS }
    return `${JSON.stringify({
      version: 2,
      width: size.columns,
      height: size.rows,
      timestamp: Math.floor(startedAtMs / 1000),
    })}\n`
  }
}

function statementText(event: Statement): string {
  const { atMs, statement, parameters, rows, durationUs, error } = event
  const facts = [
    ...(rows === undefined ? [] : [rows === 1 ? '1 row' : `${rows} rows`]),
    ...(durationUs === undefined ? [] : [`${(durationUs / 1000).toFixed(1)} ms`]),
  ]
  const result = facts.length === 0 ? '' : `  (${facts.join(', ')})`
  const lines = [
    `${clockText(atMs)}  ${oneLine(statement)}${result}`,
    ...parameters.map((value, at) => `${INDENT}$${at + 1} = ${oneLine(value)}`),
    ...(error === undefined ? [] : [`${INDENT}ERROR: ${oneLine(error)}`]),
  ]
  return `${lines.join('\n')}\n`
}

/** `12:00:01.250`: the day stands where the session begins. */
function clockText(ms: number): string {
  return new Date(ms).toISOString().slice(11, 23)
}

const INDENT = ' '.repeat(14)

function oneLine(text: string): string {
  return printable(text.replaceAll(/\s+/g, ' ').trim())
}

function plain(event: RecordingEvent): Readonly<Record<string, unknown>> {
  const { kind, atMs, ...rest } = event
  const time = new Date(atMs).toISOString()
  if (event.kind === 'print')
    return { time, event: kind, data: Buffer.from(event.bytes).toString('base64') }
  return { time, event: kind, ...rest }
}
